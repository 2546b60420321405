"""ROOT files: what they hold, and the small ones of single events, read and written faster than a general library can."""
