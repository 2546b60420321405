"""Hyper-parameter scans: searchers of several libraries, and the gateway that takes points to nodes."""
