"""Whether the page of a job is to be opened in a browser: asked on a terminal where there is one, and nowhere else.

Rules: nobody who is not there is waited for longer than some seconds; no answer is no; a browser that cannot be started is told
of and costs nothing else.
"""

from __future__ import annotations

import os
import select
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

import typer

WAIT_S = 10.0


@dataclass(slots=True)
class PageOffer:
    """What was answered; `open` opens the first page there is, if it is wanted."""

    wanted: bool
    browse: Callable[[str], bool] = webbrowser.open

    @classmethod
    def made(cls, source: TextIO, target: TextIO, environment: Mapping[str, str] = os.environ) -> PageOffer:
        """Ask whoever sits at the terminal; where nobody does, or no browser could be opened there, it is not wanted."""
        if not (source.isatty() and target.isatty() and _has_screen(environment)):
            return cls(wanted=False)
        typer.echo(f"Watch the job in a browser? [y/N] (no answer in {WAIT_S:.0f} s is no) ", nl=False)
        answered, _, _ = select.select([source], [], [], WAIT_S)
        if not answered:
            typer.echo()
        return cls(wanted=bool(answered) and source.readline().strip().lower() in ("y", "yes"))

    def open(self, address: str) -> str:
        """Open the page, once; what there is to say about it."""
        if not self.wanted:
            return ""
        self.wanted = False
        return "" if self.browse(address) else "no browser could be started: open the address in one"


def _has_screen(environment: Mapping[str, str]) -> bool:
    """Over ssh a text browser would take the terminal away."""
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
