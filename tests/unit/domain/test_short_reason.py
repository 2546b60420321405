"""What survives where a reason has little room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.short_reason import short_reason

FRAMES = '  File "/opt/a.py", line 3, in f\n    raise KeyError("run")\n'


def raised(what):
    return f"Traceback (most recent call last):\n{FRAMES}{what}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("too many events failed", "too many events failed"),
        ("two\nlines", "two lines"),
        (raised("KeyError: 'run'"), "KeyError: 'run'"),
        (f"the event failed: {raised('KeyError: 7')}", "the event failed: KeyError: 7"),
        (raised("ValueError: first\nand second line"), "ValueError: first and second line"),
        (
            raised("KeyError: 1\n\nThe above exception was the direct cause of another one:\n\n") + raised("OSError: 2"),
            "KeyError: 1 OSError: 2",
        ),
        (
            "\x1b[36mray::A.f()\x1b[39m (pid=7, ip=1.2.3.4)\n  File 'x'\n" + raised("RuntimeError: no"),
            "File 'x' RuntimeError: no",
        ),
        ("a lone \ud800 and a bell\x07", "a lone ? and a bell?"),
        ("", ""),
    ],
)
def test_reasons(text, reason):
    assert short_reason(text, 500) == reason


def test_of_a_long_text_both_ends_are_kept():
    reason = short_reason("begun " + "x" * 40_000_000 + " ended", 100)
    assert len(reason) == 100
    assert reason.startswith("begun x")
    assert reason.endswith("x ended")


@given(st.text(st.characters(exclude_categories=())), st.integers(20, 600))
def test_whatever_it_is_it_is_one_line_that_fits_and_can_be_encoded(text, limit):
    reason = short_reason(text, limit)
    assert len(reason) <= limit
    assert "\n" not in reason
    reason.encode()


def test_a_line_of_brackets_is_read_once():
    """A pattern that begins anew at each of its brackets would take minutes."""
    assert short_reason("ray::" + "f(" * 90_000, 60).startswith("ray::f(f(")
    assert short_reason("ray::f(x)(pid=1)\nValueError: so", 60) == "ValueError: so"
