"""Progress as it is shown while a job runs: four faces of one protocol.

    LiveDisplay    a terminal: bar, figures and a table of nodes, redrawn in place
    LineDisplay    a log file or pipe: one line every few seconds and at every change of phase or node
    JsonDisplay    a machine: one JSON object per line, nothing left out
    QuietDisplay   nobody

Rules: a display is handed `Progress` values and never asks for more; job names, node names and messages are foreign text and
are printed as text, whatever control characters or mark-up they hold; showing must never cost the job anything, so a display
draws at most as often as its own interval says, and falls silent when nobody is left to read it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raythena.domain.errors import InvalidInput
from raythena.domain.progress import NodeProgress, Progress
from raythena.monitor.wording import asides, duration, facts, percent, printable, share_done

LINE_INTERVAL_S = 5.0
LIVE_INTERVAL_S = 0.1
NODES_SHOWN = 16
"""Rows of the node table; on a larger cluster the nodes that need attention are shown."""

MODES = ("auto", "live", "lines", "json", "quiet")
_PHASE_STYLE = {"starting": "cyan", "running": "green", "draining": "yellow", "merging": "blue", "ended": "bold"}


class Display(Protocol):
    """Shows a job to somebody. Used as a context manager; after it closes nothing is left moving on the terminal."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leave the last state standing."""

    def show(self, progress: Progress) -> None:
        """Take a new snapshot; whether it is drawn at once is the display's choice. `ended` is always drawn."""

    def message(self, text: str) -> None:
        """Say one line that stays."""


class PatientStream(io.TextIOBase):
    """A text stream that bears anything: a reader that left ends the output, not the job; odd characters become `?`."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._deserted = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream behind; rich asks it for the size of the terminal."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write what the encoding can hold; nothing once the reader is gone."""
        known = text.encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Flush; nothing once the reader is gone."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._deserted:
            return
        try:
            action()
        except (OSError, ValueError):  # broken pipe, full disk, closed terminal or stream: all the same to the job
            self._deserted = True


class QuietDisplay:
    """Says nothing at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        return None

    def show(self, progress: Progress) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""


class JsonDisplay(QuietDisplay):
    """One JSON object per line: `"type": "progress"` with the fields of `Progress`, or `"type": "message"` with `text`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, progress: Progress) -> None:
        """Write the snapshot."""
        self._write({"type": "progress", **progress.to_dict()})

    def message(self, text: str) -> None:
        """Write the message."""
        self._write({"type": "message", "text": text})

    def _write(self, document: dict[str, object]) -> None:
        self._stream.write(json.dumps(document, separators=(",", ":")) + "\n")
        self._stream.flush()


class LineDisplay(QuietDisplay):
    """Plain lines with the time of day, for logs. `clock` is monotonic seconds, `time_of_day` gives the stamp."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_s: float = LINE_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._clock = clock
        self._time_of_day = time_of_day
        self._last: Progress | None = None
        self._next_s = float("-inf")

    def show(self, progress: Progress) -> None:
        """Write a line when it is time, or when phase, message or a node's state changed."""
        now_s = self._clock()
        changed = self._last is None or _landmarks(progress) != _landmarks(self._last)
        if changed or now_s >= self._next_s:
            self._line(status_line(progress))
            self._next_s = now_s + self._interval_s
        if progress.message and (self._last is None or progress.message != self._last.message):
            self.message(progress.message)
        self._last = progress

    def message(self, text: str) -> None:
        """Write the message, whatever the interval says."""
        self._line(printable(text))

    def _line(self, text: str) -> None:
        self._stream.write(f"{self._time_of_day():%H:%M:%S} {text}\n")
        self._stream.flush()


class LiveDisplay:
    """A picture redrawn in place on a terminal."""

    def __init__(
        self, console: Console, *, interval_s: float = LIVE_INTERVAL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._interval_s = interval_s
        self._clock = clock
        self._next_s = float("-inf")
        self._last: Progress | None = None
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._last is not None:
            self._live.update(picture(self._last), refresh=True)
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Redraw, unless that was done a moment ago."""
        self._last = progress
        now_s = self._clock()
        if progress.phase == "ended" or now_s >= self._next_s:
            self._live.update(picture(progress), refresh=True)
            self._next_s = now_s + self._interval_s

    def message(self, text: str) -> None:
        """Print the message above the picture."""
        self._console.print(Text(printable(text)))


def choose_display(mode: str, stream: TextIO) -> Display:
    """The display for `mode` (one of `MODES`), writing to `stream`. Raises InvalidInput for another mode.

    `auto` is `live` when the stream is a terminal that can move its cursor, `lines` otherwise.
    """
    patient = cast(TextIO, PatientStream(stream))
    if mode == "auto":
        console = Console(file=patient)
        return LiveDisplay(console) if stream.isatty() and not console.is_dumb_terminal else LineDisplay(patient)
    if mode == "live":
        return LiveDisplay(Console(file=patient))
    if mode == "lines":
        return LineDisplay(patient)
    if mode == "json":
        return JsonDisplay(patient)
    if mode == "quiet":
        return QuietDisplay()
    raise InvalidInput("display.mode", "", f"no display called {mode!r}", expected="one of " + ", ".join(MODES))


def status_line(progress: Progress) -> str:
    """The whole job in one line of text."""
    return f"{progress.phase:<8} {percent(share_done(progress)):>7}  " + "  ".join(facts(progress) + asides(progress))


def picture(progress: Progress) -> RenderableType:
    """The whole job as a picture: heading, bar, figures, nodes, message."""
    parts: list[RenderableType] = [_heading(progress), _bar(progress), _figures(progress)]
    if progress.nodes:
        parts.append(_node_table(progress.nodes))
    if progress.message:
        parts.append(Text(printable(progress.message), style="yellow"))
    return Group(*parts)


def _landmarks(progress: Progress) -> tuple[object, ...]:
    return progress.phase, progress.outputs_merged == progress.outputs, [(node.name, node.state) for node in progress.nodes]


def _heading(progress: Progress) -> Text:
    return Text.assemble(
        (printable(progress.job), "bold"),
        "  ",
        (progress.phase, _PHASE_STYLE.get(progress.phase, "")),
        (f"  {duration(progress.elapsed_s)}", "dim"),
    )


def _bar(progress: Progress) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    done = progress.finished + progress.failed
    bar = ProgressBar(total=max(progress.events, 1), completed=done, complete_style="green", finished_style="green")
    row.add_row(bar, percent(share_done(progress)))
    return row


def _figures(progress: Progress) -> Text:
    figures = Text("  ".join(facts(progress)))
    notes = asides(progress)
    return figures.append("\n" + "  ".join(notes), style="red" if progress.failed else "yellow") if notes else figures


def _node_table(nodes: tuple[NodeProgress, ...]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("node")
    for heading in ("state", "busy", "held", "done", "an event", "occupancy"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    shown = nodes if len(nodes) <= NODES_SHOWN else _most_telling(nodes)
    for node in shown:
        table.add_row(*_node_cells(node))
    hidden = len(nodes) - len(shown)
    return Group(table, Text(f"and {hidden:,} more nodes", style="dim")) if hidden else table


def _node_cells(node: NodeProgress) -> tuple[Text, ...]:
    style = {"lost": "red", "aside": "red", "stalled": "red", "draining": "yellow"}.get(node.state, "")
    cells = (
        printable(node.name),
        node.state,
        "" if node.state == "lost" else f"{node.busy}/{node.cores}",
        "" if node.state == "lost" else f"{node.leased:,}",
        f"{node.finished:,}",
        duration(node.mean_event_s) if node.finished else "",
        percent(node.occupancy) if node.finished else "",
    )
    return tuple(Text(cell, style=style) for cell in cells)


def _most_telling(nodes: tuple[NodeProgress, ...]) -> list[NodeProgress]:
    """Those in trouble first, then the least occupied."""
    rank = {"lost": 0, "aside": 0, "stalled": 0, "draining": 1}
    return sorted(nodes, key=lambda node: (rank.get(node.state, 2), node.occupancy, node.name))[:NODES_SHOWN]
