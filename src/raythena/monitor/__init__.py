"""Showing a job to people while it runs."""
