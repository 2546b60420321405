"""Numbers that are easily mistaken for one another, each with a type of its own.

All three are plain integers when the program runs; the type checker keeps them apart.
"""

from __future__ import annotations

from typing import NewType

RangeIndex = NewType("RangeIndex", int)
"""Row of an event range in the range table, from 0; the same for all the life of a task."""

NodeNumber = NewType("NodeNumber", int)
"""Position of a node incarnation among all that ever joined a coordinator, from 0; it means nothing to another coordinator."""

OutputNumber = NewType("OutputNumber", int)
"""Position of an output file in the job, from 0; in a job whose ranges are given, that of an input file."""
