"""The `raythena` command: what a person types, and what they read back.

Each command lives in a module of its own and is registered in `app`; `settings` gathers what can be set. Starting the program
must stay quick, so a command imports Ray, uproot and the like in its own body, never at the top of its module. Nothing at all is
imported here before signals are held for the one command that has to answer them from its first moment on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from raythena.cli.held_signals import hold_signals
from raythena.cli.import_path import leave_current_directory
from raythena.cli.output import take_descriptors

__all__ = ["main"]

_ANSWERS_SIGNALS = "harvest"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program with `arguments`, by default those of the process, and end the process."""
    take_descriptors()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if next((word for word in given if not word.startswith("-")), "") == _ANSWERS_SIGNALS:
        hold_signals()
    _leave_current_directory()
    from raythena.cli import app

    app.main(given)


def _leave_current_directory() -> None:
    with contextlib.suppress(OSError):  # it may have been removed
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 (see there)
        leave_current_directory(sys.path, os.environ, os.getcwd(), home)  # noqa: PTH109
