"""A list of hosts in a file: what each line means.

A line is a host, and behind it how many cores to use there, if not all. A host that stands there several times, as in PBS's node
file, has as many cores as lines. What is behind `#` is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from raythena.domain.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*(?:@[A-Za-z0-9_][A-Za-z0-9_.:-]*)?", re.ASCII)
"""Nothing that a shell or `ssh` could take for more than a name."""


@dataclass(frozen=True, slots=True)
class Host:
    """One machine."""

    name: str
    """A name or an address, perhaps with a user: `user@host`."""
    cores: int
    """0: all it has."""


def parse_hosts(text: str, source: str) -> tuple[Host, ...]:
    """The hosts of a file, each once, in its order. Raises InvalidInput."""
    cores: dict[str, int] = {}
    lines: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, *rest = words
        if _NAME.fullmatch(name) is None:
            raise InvalidInput(source, f"line {number}", f"{name!r} is no name of a host", expected="a name or an address")
        if len(rest) > 1 or any(not word.isdecimal() or int(word) < 1 for word in rest):
            raise InvalidInput(source, f"line {number}", f"{line.strip()!r} is no host", expected="HOST, or HOST CORES")
        lines[name] += 1
        cores[name] = int(rest[0]) if rest else cores.get(name, 0)
    if not cores:
        raise InvalidInput(source, "", "names no host", expected="a host in each line")
    return tuple(Host(name, given or (lines[name] if lines[name] > 1 else 0)) for name, given in cores.items())
