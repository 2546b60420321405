"""The optional libraries of the demo, asked for by name when they are needed.

The rest of Raythena runs without Pythia, ACTS, FastJet and the libraries that draw. Whoever calls into the demo without them is
told what to install instead of being shown an ImportError; and, on a system whose C library is too old for the wheel of ACTS,
that nothing that could be installed would help.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, TypeAlias

from raythena.domain.errors import InvalidInput

LibraryObject: TypeAlias = Any
"""A library without type information, or something of one."""
ACTS_NEEDS_GLIBC = (2, 34)
"""The oldest C library that the wheel `pyacts` is built for."""


def optional(module: str) -> LibraryObject:
    """The module called `module`. Raises InvalidInput with what to do when it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(
            "demo",
            module,
            f"cannot be imported ({error})",
            expected="the optional extra 'demo'",
            hint=libc_problem(libc_version()) if module.partition(".")[0] == "acts" else "pip install 'raythena[demo]'",
        ) from error


def libc_version() -> str:
    """What this system says of its C library, such as "glibc 2.36"; empty when it is not the GNU one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def libc_problem(version: str) -> str:
    """What to do about a missing ACTS on a system with this C library."""
    least = ".".join(map(str, ACTS_NEEDS_GLIBC))
    name, _, number = version.partition(" ")
    parts = number.split(".")
    known = name == "glibc" and all(part.isdigit() for part in parts)
    if known and tuple(map(int, parts)) >= ACTS_NEEDS_GLIBC:
        return "pip install 'raythena[demo]'"
    return (
        f"The wheel of ACTS (pyacts) needs the GNU C library {least} or newer, this system has {version or 'another one'}: "
        "run the demo on Debian 12, Ubuntu 22.04, AlmaLinux 9 or newer, or in a container of one of them"
    )
