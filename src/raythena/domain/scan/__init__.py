"""Hyper-parameter scans as values: what may be searched, how a scan file says it, and what a trial gives back."""
