"""Synthetic events do what they are told, and nothing else."""

from __future__ import annotations

import faulthandler
import multiprocessing
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange
from raythena.testing import synthetic


class Context:
    """The little of a payload's context that a function uses."""

    def __init__(self, scratch: Path, **options: Any) -> None:
        self.scratch = scratch
        self.state = synthetic.setup(options)

    def new_output(self, suffix: str = "") -> Path:
        return self.scratch / f"output{suffix}"


def event(number: int) -> EventRange:
    return EventRange(f"EVNT.1-{number}", "EVNT.1", "/nowhere/EVNT.1", "", number, number)


@given(st.text(min_size=1), st.integers(0, 5000))
def test_output_depends_on_the_range_alone(range_id: str, size: int) -> None:
    content = synthetic.expected_output(range_id, size)
    assert content == synthetic.expected_output(range_id, size)
    assert content.startswith(range_id.encode() + b"\n")
    assert len(content) == max(size, len(range_id.encode()) + 1)


def test_outputs_of_different_ranges_differ_beyond_their_first_line() -> None:
    first, second = (synthetic.expected_output(f"EVNT-{n}", 200).split(b"\n")[1] for n in (1, 2))
    assert first != second


@pytest.mark.parametrize("as_file", [True, False])
def test_output_is_the_expected_one(tmp_path: Path, as_file: bool) -> None:
    result = synthetic.process(event(3), Context(tmp_path, output_bytes=1000, as_file=as_file))
    content = result.read_bytes() if isinstance(result, Path) else result
    assert isinstance(result, Path) == as_file
    assert content == synthetic.expected_output("EVNT.1-3", 1000)


def test_cpu_time_is_burnt_and_wall_time_slept(tmp_path: Path) -> None:
    cpu, wall = time.thread_time(), time.monotonic()
    synthetic.process(event(1), Context(tmp_path, cpu_s=0.05, wall_s=0.05))
    assert time.thread_time() - cpu >= 0.05
    assert time.monotonic() - wall >= 0.1


@given(st.floats(0, 1))
def test_spread_keeps_costs_around_the_mean(spread: float) -> None:
    factors = [synthetic._cost_factor(f"EVNT.000001.root-{n}", spread) for n in range(2000)]
    assert all(1 - spread - 1e-9 <= factor <= 1 + spread + 1e-9 for factor in factors)
    assert sum(factors) / len(factors) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("told", [2, "EVNT.1-2"])
def test_only_the_named_event_fails(tmp_path: Path, told: int | str) -> None:
    context = Context(tmp_path, fail=[told])
    with pytest.raises(synthetic.SyntheticFailure):
        synthetic.process(event(2), context)
    assert synthetic.process(event(1), context)


def test_an_event_goes_right_after_the_attempts_it_was_given(tmp_path: Path) -> None:
    context = Context(tmp_path, fail=[1, 2], attempts_to_fail=2, attempts_dir=str(tmp_path))
    for _ in range(2):
        with pytest.raises(synthetic.SyntheticFailure):
            synthetic.process(event(1), context)
    assert synthetic.process(event(1), context)
    with pytest.raises(synthetic.SyntheticFailure):
        synthetic.process(event(2), context)


def test_bad_output_is_promised_and_not_written(tmp_path: Path) -> None:
    promised = synthetic.process(event(1), Context(tmp_path, bad_output=[1]))
    assert isinstance(promised, Path)
    assert not promised.exists()


def test_a_crash_is_a_signal_and_a_hang_does_not_end(tmp_path: Path) -> None:
    def quietly(context: Context) -> None:
        faulthandler.disable()
        synthetic.process(event(1), context)

    fork = multiprocessing.get_context("fork")
    crashing = fork.Process(target=quietly, args=(Context(tmp_path, crash=[1]),))
    hanging = fork.Process(target=quietly, args=(Context(tmp_path, hang=[1]),))
    crashing.start()
    hanging.start()
    crashing.join(20)
    assert crashing.exitcode == -signal.SIGSEGV
    assert hanging.is_alive()
    hanging.kill()
    hanging.join(20)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"wal_s": 1}, "wal_s"),
        ({"wall_s": -1}, "wall_s"),
        ({"cpu_s": "fast"}, "cpu_s"),
        ({"output_bytes": True}, "output_bytes"),
        ({"attempts_to_fail": 1}, "attempts_dir"),
        ({"attempts_to_fail": 1, "attempts_dir": "/does/not/exist"}, "attempts_dir"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        synthetic.setup(options)
    assert refusal.value.field == field
