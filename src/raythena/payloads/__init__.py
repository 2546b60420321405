"""What computes events on a node, and what merges their outputs."""
