"""What stands inside the values of an argument: lists of files, bracket lists, substeps.

Rules: a file list is divided at commas and by words, its parts are put together and repetitions dropped, as a transform does. A
bracket list such as `EVNT.1._[001,002].pool.root`, which PanDA writes and current transforms do not understand, stands for one
name for each number in it. Patterns (`*`, `?`) are not touched: they need a disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from raythena.domain.errors import InvalidInput

MAX_EXPANDED = 1_000_000
"""Names one bracket list may stand for; more is a mistake."""

_NUMBERS = re.compile(r"\[(\d+(?:,\d+)*)\]", re.ASCII)
_OUTSIDE_BRACKETS = re.compile(r"((?:\[\d+(?:,\d+)*\]|[^,\[]+|\[)*)(?:,|$)", re.ASCII)
_SUBSTEPS = re.compile(r"([a-zA-Z0-9,]+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Substep:
    """A value for one step of a transform: `all`, `first`, `default`, or a step's name or short name."""

    name: str
    value: str


def file_names(values: Iterable[str], source: str = "jobPars", field: str = "") -> tuple[str, ...]:
    """The names in the values of a file argument: divided at commas, bracket lists expanded, in order, each once.

    Raises InvalidInput for a bracket list that stands for more than `MAX_EXPANDED` names.
    """
    divided = (part for value in values for part in _OUTSIDE_BRACKETS.findall(value))
    return tuple(dict.fromkeys(name for part in divided if part for name in expanded(part, source, field)))


def expanded(name: str, source: str = "jobPars", field: str = "") -> tuple[str, ...]:
    """The names a bracket list stands for; a name without one stands for itself."""
    texts = _NUMBERS.split(name)
    lists = [numbers.split(",") for numbers in texts[1::2]]
    count = 1
    for numbers in lists:
        count *= len(numbers)
    if count > MAX_EXPANDED:
        raise InvalidInput(source, field, f"{name[:60]!r} stands for {count:,} files", expected=f"at most {MAX_EXPANDED:,}")
    between = texts[0::2]
    return tuple("".join(_alternating(between, chosen)) for chosen in product(*lists))


def substeps(values: Iterable[str], default: str = "all") -> tuple[Substep, ...]:
    """The values of a substep argument by step, in order; `a,b:x` is a value for each of two steps."""
    return tuple(step for value in values for step in _substeps(value, default))


def _substeps(value: str, default: str) -> list[Substep]:
    match = _SUBSTEPS.match(value)
    if match is None:
        return [Substep(default, value)]
    return [Substep(name, match[2]) for name in match[1].split(",")]


def _alternating(between: list[str], chosen: tuple[str, ...]) -> list[str]:
    return [text for pair in zip(between, (*chosen, ""), strict=True) for text in pair]
