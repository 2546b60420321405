"""Raythena: event-level workloads on high-performance computers."""

__version__ = "0.1.0"
