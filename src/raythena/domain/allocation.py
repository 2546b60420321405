"""What a batch system gave us: nodes, the cores of each, and how long.

Slurm tells it in environment variables with shorthand of its own: `nid[0001-0004,7]` for lists of nodes, `64(x2),32` for the
cores of one after the other, `1-02:00:00` for time. A heterogeneous job has a set of such variables for each of its parts, with
a suffix. Everything here is reading of text; who asks Slurm, and when, is the launcher's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raythena.domain.errors import InvalidInput

_SOURCE = "environment"
_MAX_NODES = 1_000_000
"""More in one list is no list of nodes but a mistake."""
_RUN = re.compile(r"(\d+)(?:\(x(\d+)\))?", re.ASCII)
_SPAN = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_TIME = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", re.ASCII)
_NO_LIMIT = frozenset({"UNLIMITED", "NOT_SET", "INVALID", ""})


@dataclass(frozen=True, slots=True)
class AllocatedNode:
    """One node of an allocation."""

    name: str
    cores: int
    """Given to the job; 0: not known."""
    part: int | None = None
    """Part of a heterogeneous job it belongs to, from 0; None in others."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one batch job was given."""

    job_id: str
    nodes: tuple[AllocatedNode, ...]
    """Each node once, in the batch system's order."""
    restarts: int = 0
    """How often the job was put back in the queue and started again."""
    ends_at: float | None = None
    """Seconds since the epoch; None: not told in the environment."""

    def named(self, name: str) -> AllocatedNode | None:
        """The node of that name, with or without its domain."""
        short = name.partition(".")[0]
        return next((node for node in self.nodes if node.name in {name, short}), None)


def slurm_allocation(environ: Mapping[str, str]) -> Allocation | None:
    """The allocation these variables describe; None outside of Slurm jobs. Raises InvalidInput for what cannot be read."""
    job_id = environ.get("SLURM_JOB_ID", "")
    if not job_id:
        return None
    parts = _count(environ, "SLURM_HET_SIZE")
    nodes: dict[str, AllocatedNode] = {}
    for part in range(parts) if parts else (None,):
        for node in _nodes(environ, part):
            nodes.setdefault(node.name, node)
    ends_at = _count(environ, "SLURM_JOB_END_TIME")
    return Allocation(job_id, tuple(nodes.values()), _count(environ, "SLURM_RESTART_COUNT"), float(ends_at) if ends_at else None)


def _count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdecimal()):
        raise InvalidInput(_SOURCE, name, f"{text!r} is no number", expected="digits")
    return int(text or 0)


def _nodes(environ: Mapping[str, str], part: int | None) -> Iterator[AllocatedNode]:
    suffix = "" if part is None else f"_HET_GROUP_{part}"
    list_name, cores_name = f"SLURM_JOB_NODELIST{suffix}", f"SLURM_JOB_CPUS_PER_NODE{suffix}"
    text = environ.get(list_name, "")
    if not text:
        raise InvalidInput(_SOURCE, list_name, "is not set", expected="the nodes of the job", hint="Is this a Slurm job?")
    names = expand_node_list(text, list_name)
    cores = expand_counts(environ.get(cores_name, ""), cores_name)
    if cores and len(cores) != len(names):
        raise InvalidInput(_SOURCE, cores_name, f"counts {len(cores)} nodes", expected=f"{len(names)}, as {list_name} does")
    for name, count in zip(names, cores or [0] * len(names), strict=True):
        yield AllocatedNode(name, count, part)


def expand_node_list(text: str, field: str = "") -> list[str]:
    """The nodes of a list in Slurm's shorthand, such as `a[01-03,7],b-x[0-1]y[2-3],c`. Raises InvalidInput naming `field`."""
    names: list[str] = []
    for item in _split(text, field):
        names.extend(_expand(item, field))
        if len(names) > _MAX_NODES:
            raise _bad_list(text, field, f"names more than {_MAX_NODES:,} nodes")
    return names


def _bad_list(text: str, field: str, problem: str) -> InvalidInput:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return InvalidInput(_SOURCE, field, f"{shown!r} {problem}", expected="nodes, for example n[01-04,7],m1")


def _split(text: str, field: str) -> Iterator[str]:
    """Cut at commas outside of brackets."""
    depth = begin = 0
    for position, letter in enumerate(text):
        if letter in "[]":
            depth += 1 if letter == "[" else -1
            if depth not in (0, 1):
                raise _bad_list(text, field, "has brackets that do not match")
        elif letter == "," and depth == 0:
            yield _not_empty(text[begin:position], text, field)
            begin = position + 1
    if depth:
        raise _bad_list(text, field, "has brackets that do not match")
    yield _not_empty(text[begin:], text, field)


def _not_empty(item: str, text: str, field: str) -> str:
    if not item or any(letter.isspace() for letter in item):
        raise _bad_list(text, field, "has an item that is no name")
    return item


def _expand(item: str, field: str) -> list[str]:
    head, bracket, rest = item.partition("[")
    if not bracket:
        return [item]
    inside, _, tail = rest.partition("]")
    tails = _expand(tail, field) if tail else [""]
    numbers = _numbers(inside, item, field)
    if len(numbers) * len(tails) > _MAX_NODES:
        raise _bad_list(item, field, f"names more than {_MAX_NODES:,} nodes")
    return [f"{head}{number}{end}" for number in numbers for end in tails]


def _numbers(inside: str, item: str, field: str) -> list[str]:
    numbers: list[str] = []
    for span in inside.split(","):
        match = _SPAN.fullmatch(span)
        if match is None:
            raise _bad_list(item, field, f"has {span!r} in brackets")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + _MAX_NODES:
            raise _bad_list(item, field, f"has {span!r} in brackets")
        width = len(match[1])
        numbers.extend(f"{number:0{width}d}" for number in range(first, last + 1))
    return numbers


def expand_counts(text: str, field: str = "") -> list[int]:
    """Counts in Slurm's shorthand, node by node: `64(x2),32` is 64, 64, 32; empty text is none. Raises InvalidInput."""
    counts: list[int] = []
    for item in text.split(",") if text else []:
        match = _RUN.fullmatch(item)
        times = int(match[2] or 1) if match else 0
        if match is None or not 0 < times <= _MAX_NODES:
            raise InvalidInput(_SOURCE, field, f"{text!r} is no list of counts", expected="for example 64(x2),32")
        counts.extend([int(match[1])] * times)
    return counts


def parse_time_left(text: str) -> float | None:
    """Seconds, from what `squeue --format=%L` prints; None where there is no limit or none is known. Raises InvalidInput."""
    cleaned = text.strip()
    if cleaned.upper() in _NO_LIMIT:
        return None
    match = _TIME.fullmatch(cleaned)
    if match is None:
        raise InvalidInput("squeue", "time left", f"{cleaned!r} is no duration", expected="[DAYS-]HOURS:MINUTES:SECONDS")
    fields = [int(field) for field in match[2].split(":")]
    if match[1] is None:  # without days, the last field is seconds
        fields = [0] * (3 - len(fields)) + fields
    hours, minutes, seconds = fields + [0] * (3 - len(fields))
    return int(match[1] or 0) * 86_400.0 + hours * 3_600.0 + minutes * 60.0 + seconds


def usable_cores(given: int, allowed: int) -> int:
    """Cores to keep busy: what the batch system gave (0: not known), but no more than the kernel lets us run on."""
    return max(1, min(given or allowed, allowed))
