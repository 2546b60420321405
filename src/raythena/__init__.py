"""Raythena: event-level workloads on high-performance computers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raythena.task import Task as Task

__version__ = "0.1.0"
__all__ = ["Task", "__version__"]


def __getattr__(name: str) -> object:
    """Loaded when it is asked for: a command must start quickly, and workers need none of it."""
    if name == "Task":
        from raythena.task import Task

        return Task
    raise AttributeError(f"module 'raythena' has no attribute {name!r}")
