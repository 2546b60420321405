"""The four displays, rendered to text."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime

import pytest
from rich.console import Console

from raythena.domain.errors import InvalidInput
from raythena.domain.progress import NodeProgress, Progress
from raythena.monitor.display import (
    MODES,
    NODES_SHOWN,
    JsonDisplay,
    LineDisplay,
    LiveDisplay,
    PatientStream,
    QuietDisplay,
    choose_display,
    picture,
    status_line,
)

NODE = NodeProgress("alpha", "up", cores=2, busy=1, leased=30, finished=617, occupancy=0.975, mean_event_s=0.0201)
PROGRESS = Progress(
    job="sim",
    phase="running",
    events=2000,
    ready=500,
    leased=264,
    stored=800,
    merged=434,
    failed=2,
    attempts_failed=5,
    outputs=10,
    outputs_merged=3,
    merging=1,
    resumed=100,
    rate_per_s=48.13,
    remaining_s=15.2,
    elapsed_s=75.0,
    occupancy=0.9871,
    nodes=(NODE, replace(NODE, name="beta", state="lost")),
)


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rendered(progress: Progress, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(picture(progress))
    return console.file.getvalue()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(clock):
    stream = io.StringIO()
    display = LineDisplay(stream, clock=clock, time_of_day=lambda: datetime(2026, 1, 2, 3, 4, 5))
    display.written = lambda: stream.getvalue().splitlines()
    return display


def test_the_picture_holds_every_figure():
    text = rendered(PROGRESS)
    for figure in (
        "sim",
        "running",
        "1 min 15 s",
        "61.8 %",
        "1,234/2,000 events",
        "48.1/s",
        "15 s left",
        "occupancy 98.7 %",
        "outputs 3/10 (1 merging)",
        "100 events resumed",
        "2 failed",
        "5 attempts failed",
        "1 node lost",
        "alpha",
        "97.5 %",
        "20 ms",
        "1/2",
    ):
        assert figure in text, figure


def test_a_lost_node_shows_nothing_as_busy():
    (row,) = [line for line in rendered(PROGRESS).splitlines() if "beta" in line]
    assert "1/2" not in row
    assert "lost" in row
    assert "617" in row


def test_a_node_without_events_shows_no_mean():
    idle = replace(PROGRESS, nodes=(replace(NODE, finished=0, mean_event_s=0.0, occupancy=0.0),))
    (row,) = [line for line in rendered(idle).splitlines() if "alpha" in line]
    assert "%" not in row
    assert " s" not in row


def test_a_quiet_job_has_no_asides():
    calm = replace(PROGRESS, failed=0, attempts_failed=0, resumed=0, nodes=(NODE,))
    assert "failed" not in rendered(calm)
    assert "lost" not in rendered(calm)


def test_an_ended_job_has_no_time_left():
    assert "left" not in rendered(replace(PROGRESS, phase="ended"))


def test_a_job_without_events_yet_can_be_shown():
    empty = replace(PROGRESS, events=0, stored=0, merged=0, failed=0, remaining_s=None, nodes=())
    assert "0/0 events" in rendered(empty)
    assert "? left" in rendered(empty)


def test_a_large_cluster_shows_the_nodes_in_need():
    crowd = [replace(NODE, name=f"n{index:04}", occupancy=0.5 + index / 4000) for index in range(1000)]
    crowd[777] = replace(crowd[777], state="lost")
    crowd[888] = replace(crowd[888], state="draining")
    text = rendered(replace(PROGRESS, nodes=tuple(crowd)))
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("n0")]
    assert len(rows) == NODES_SHOWN
    assert rows[:3] == ["n0777", "n0888", "n0000"]
    assert f"and {1000 - NODES_SHOWN} more nodes" in text


@pytest.mark.parametrize("width", [20, 40, 300])
def test_any_width_will_do(width):
    assert "61.8 %" in rendered(PROGRESS, width)


def test_foreign_text_is_neither_markup_nor_control():
    hostile = "[red]x[/red]\x1b[2J\r\nfake"
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    console.print(picture(replace(PROGRESS, job=hostile, message=hostile, nodes=(replace(NODE, name=hostile),))))
    assert stream.getvalue().count("[red]x[/red] [2J  fake") == 3
    assert "\x1b" not in stream.getvalue()


def test_a_line_holds_the_figures_too():
    line = status_line(PROGRESS)
    assert line.startswith("running   61.8 %  1,234/2,000 events  48.1/s  15 s left")
    assert line.endswith("2 failed  5 attempts failed  1 node lost")


def test_lines_come_at_their_interval(lines, clock):
    for _ in range(120):
        lines.show(PROGRESS)
        clock.now_s += 0.1
    assert len(lines.written()) == 3
    assert lines.written()[0] == "03:04:05 " + status_line(PROGRESS)


@pytest.mark.parametrize(
    "change",
    [{"phase": "merging"}, {"outputs_merged": 10}, {"nodes": (NODE,)}, {"nodes": (NODE, replace(NODE, name="beta"))}],
    ids=["phase", "all merged", "node gone", "node back"],
)
def test_a_landmark_is_written_at_once(lines, clock, change):
    lines.show(PROGRESS)
    clock.now_s += 0.1
    lines.show(replace(PROGRESS, **change))
    assert len(lines.written()) == 2


def test_the_jobs_message_is_written_once(lines, clock):
    for message in ("", "disk full", "disk full", ""):
        lines.show(replace(PROGRESS, message=message))
        clock.now_s += 0.1
    assert [line for line in lines.written() if "disk full" in line] == ["03:04:05 disk full"]


def test_messages_of_the_program_are_one_line(lines):
    lines.message("two\nlines\x1b")
    assert lines.written() == ["03:04:05 two lines"]


def test_json_lines_are_complete():
    stream = io.StringIO()
    with JsonDisplay(stream) as display:
        display.show(PROGRESS)
        display.message("hello\n")
    progress, message = map(json.loads, stream.getvalue().splitlines())
    assert progress.pop("type") == "progress"
    assert progress == json.loads(json.dumps(PROGRESS.to_dict()))
    assert message == {"type": "message", "text": "hello\n"}


def test_live_redraws_in_place_and_leaves_the_last_state(clock):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with LiveDisplay(console, clock=clock) as display:
        display.show(PROGRESS)
        display.message("note [this]")
        display.show(replace(PROGRESS, stored=900))
    text = stream.getvalue()
    assert "note [this]" in text
    assert text.rindex("1,334/2,000") > text.rindex("1,234/2,000")
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is visible again"


def test_live_draws_no_more_often_than_its_interval(clock):
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=100), clock=clock) as display:
        for merged in range(100):
            display.show(replace(PROGRESS, merged=merged))
            clock.now_s += 0.01
    assert stream.getvalue().count("/2,000 events") <= 13


def test_quiet_says_nothing(capsys):
    with choose_display("quiet", io.StringIO()) as display:
        display.show(PROGRESS)
        display.message("hello")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("mode", "stream", "kind"),
    [
        ("auto", io.StringIO(), LineDisplay),
        ("auto", Terminal(), LiveDisplay),
        ("live", io.StringIO(), LiveDisplay),
        ("lines", Terminal(), LineDisplay),
        ("json", Terminal(), JsonDisplay),
        ("quiet", Terminal(), QuietDisplay),
    ],
)
def test_the_display_fits_mode_and_stream(mode, stream, kind, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(choose_display(mode, stream)) is kind


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert type(choose_display("auto", Terminal())) is LineDisplay


def test_an_unknown_mode_is_refused():
    with pytest.raises(InvalidInput, match="one of " + ", ".join(MODES)):
        choose_display("fancy", io.StringIO())


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_that_left_costs_the_job_nothing(mode):
    class Deserted(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with choose_display(mode, Deserted()) as display:
        display.show(PROGRESS)
        display.message("hello")
        display.show(replace(PROGRESS, phase="ended"))


def test_a_poor_encoding_costs_the_job_nothing():
    raw = io.BytesIO()
    stream = PatientStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("42 µs\n")
    stream.flush()
    assert raw.getvalue() == b"42 ?s\n"
