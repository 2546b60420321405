"""Foreign text as it is kept: clean, bounded, with both of its ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.short_reason import cut_middle, storable_reason


def test_lines_and_both_ends_are_kept():
    text = storable_reason("ValueError: first\n" + "x\n" * 100_000 + "the last", 300)
    assert text.startswith("ValueError: first\nx\n")
    assert text.endswith("x\nthe last")
    assert "characters cut" in text
    assert len(text) < 350


def test_what_a_terminal_or_a_file_must_not_get_is_taken_out():
    assert storable_reason("a\x1b[2J\x1b[31mb\x07c\ud800\r\nd\te", 100) == "ab?c?\nd\te"


@given(st.text(alphabet=st.characters(), max_size=2000), st.integers(20, 500))
def test_whatever_it_is_it_can_be_written_and_is_short(text, limit):
    kept = storable_reason(text, limit)
    kept.encode()
    assert len(kept) <= limit + 60
    assert "\x1b" not in kept


@given(st.text(max_size=300), st.integers(0, 300))
def test_what_is_cut_is_counted(text, limit):
    kept = cut_middle(text, limit)
    if len(text) <= limit:
        assert kept == text
    else:
        assert f"({len(text) - limit} characters cut)" in kept
        beginning, _, end = kept.partition(f" … ({len(text) - limit} characters cut) … ")
        assert text.startswith(beginning)
        assert text.endswith(end)
        assert len(beginning) + len(end) == limit
