"""Payloads made of worker processes that speak the event-server protocol: Python functions and programs."""
