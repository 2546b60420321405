"""Numbers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.monitor.wording import duration, percent, printable, rate, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0 s"),
        (-3, "0 s"),
        (42e-6, "42 µs"),
        (0.0201, "20 ms"),
        (1.254, "1.25 s"),
        (15.2, "15 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0, "0.0 %"), (0.618, "61.8 %"), (0.9999, "99.9 %"), (1, "100.0 %"), (0.29, "29.0 %")]
)
def test_only_all_of_it_is_a_hundred_percent(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0/s"), (0.031, "0.031/s"), (4.21, "4.2/s"), (14_200.3, "14,200/s")])
def test_rate(value, text):
    assert rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (67_108_864, "67.1 MB"), (5 * 10**15, "5000.0 TB")]
)
def test_size(value, text):
    assert size(value) == text


@given(st.text())
def test_foreign_text_becomes_one_harmless_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert [character for character in text if character.isalnum()] == [character for character in shown if character.isalnum()]
