"""What cores wait for, measured and told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.latency import IdleClock, LatencySummary, read_summary


def test_nothing_measured_is_nothing_claimed():
    summary = IdleClock(10.0).summary()
    assert summary == LatencySummary()
    assert summary.in_words() == "no event was begun"


def test_the_whole_account():
    clock = IdleClock(100.0)
    clock.given(102.5, None)
    for _ in range(99):
        clock.given(103.0, 0.001)
    clock.given(104.0, 0.050)
    clock.given(105.0, 2.0, starved=True)
    clock.result(106.0)
    clock.exited(106.5)
    summary = clock.summary()
    assert (summary.first_range_s, summary.waits, summary.longest_wait_s) == (2.5, 100, 0.050)
    assert summary.mean_wait_s == pytest.approx(0.00149)
    assert 0.001 <= summary.median_wait_s <= 0.00125
    assert 0.001 <= summary.p99_wait_s <= 0.00125
    assert (summary.starved, summary.starved_s, summary.exit_s) == (1, 2.0, 0.5)
    words = summary.in_words()
    for part in ("first range after 2.50 s", "100 waits", "longest 50.0 ms", "2.0 s together", "exit 0.50 s after"):
        assert part in words


@given(st.lists(st.floats(0, 3e4), min_size=1))
def test_quantiles_are_bounds_at_most_a_quarter_too_high(waits):
    clock = IdleClock(0.0)
    for wait in waits:
        clock.given(1.0, wait)
    summary = clock.summary()
    ordered = sorted(waits)
    assert summary.longest_wait_s == ordered[-1]
    median = ordered[(len(ordered) + 1) // 2 - 1]
    assert summary.median_wait_s <= max(1e-5, median * 1.2501)
    assert summary.median_wait_s <= summary.p99_wait_s <= summary.longest_wait_s
    assert sum(wait <= summary.median_wait_s * 1.000001 for wait in waits) * 2 >= len(waits)


def test_it_is_kept_in_the_log_directory(tmp_path):
    assert read_summary(tmp_path) is None
    clock = IdleClock(0.0)
    clock.given(1.0, 0.25)
    clock.summary().write(tmp_path)
    assert read_summary(tmp_path) == clock.summary()
    (tmp_path / "latency.json").write_text('{"waits": ')
    assert read_summary(tmp_path) is None
