"""Durations people may write, and those that are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.cli.durations import parse_duration
from raythena.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        (" 2D1H ", 176_400),
        ("1:30:00", 5400),
        ("00:00:07", 7),
        ("2-12:00:00", 216_000),
    ],
)
def test_durations_as_people_and_slurm_write_them(text, seconds):
    assert parse_duration(text, "--walltime") == seconds


@pytest.mark.parametrize("text", ["", "90", "1:30", "m", "30 m", "30min", "-5m", "1h-5m", "nan", "inf", "1:60:00", "30m1h", "٣s"])
def test_what_could_mean_two_things_or_nothing_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text, "--walltime")
    assert caught.value.source == "--walltime"
    assert "30m" in caught.value.expected


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_both_ways_of_writing_agree(days, hours, minutes, seconds):
    words = parse_duration(f"{days}d{hours}h{minutes}m{seconds}s", "")
    assert words == parse_duration(f"{days}-{hours:02}:{minutes:02}:{seconds:02}", "")
