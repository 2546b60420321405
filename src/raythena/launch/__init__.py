"""Starting Ray on the machines of an allocation, and ending it."""
