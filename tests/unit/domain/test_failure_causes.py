"""Failures grouped by cause."""

from __future__ import annotations

import pytest

from raythena.domain.failure_causes import EVENTS_KEPT, MAX_CAUSES, MAX_TEXT, OTHERS, causes_of, normalised
from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.domain.taxonomy import Who

TRACEBACK = """Traceback (most recent call last):
  File "/opt/site/work.py", line {line}, in simulate
    raise {error}
{error}"""


def failed(index, message, kind=FailureKind.REPORTED):
    return AttemptFailed(index, 3, "n.1", kind, message, True, 0.0)


def told(messages):
    return [(cause.count, cause.text) for cause in causes_of(failed(index, text) for index, text in enumerate(messages))]


def test_the_commonest_cause_comes_first_with_its_first_events():
    messages = ["no convergence at step 7", "out of the world", "no convergence at step 9", *(["no convergence at step 1"] * 5)]
    first, second = causes_of(failed(index, text) for index, text in enumerate(messages))
    assert (first.count, first.text, first.events) == (7, "no convergence at step 7", (0, 2, 3))
    assert len(first.events) == EVENTS_KEPT
    assert (second.count, second.text, second.events) == (1, "out of the world", (1,))
    assert first.fault.who is Who.PAYLOAD
    assert first.fault.hint


def test_of_a_traceback_the_error_counts_and_not_where_it_was_raised():
    messages = [TRACEBACK.format(line=line, error="ValueError: negative energy -3 GeV") for line in (10, 200)]
    assert told(messages) == [(2, "ValueError: negative energy -3 GeV")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OSError: no such file\nin geometry /a/b.gmx", "ValueError: bad vertex\nin geometry /a/b.gmx"),
        ("KeyError: 'x'\nsee the log", "KeyError: 'y'\nsee the log"),
        ("/data/a.root: branch hits is missing", "/data/a.root: branch tracks is missing"),
    ],
)
def test_two_errors_of_one_file_or_with_one_last_line_are_two(one, other):
    assert len(told([TRACEBACK.format(line=1, error=one), TRACEBACK.format(line=1, error=other)])) == 2
    assert normalised("reported", one) != normalised("reported", other)


def test_one_error_of_two_files_is_one():
    assert len(told([f"/data/file{n}.root: branch hits is missing at 0x{n}abc" for n in range(4)])) == 1


def test_the_same_words_of_two_kinds_are_two_causes():
    failures = [failed(0, "gone", FailureKind.CRASH), failed(1, "gone", FailureKind.HANG)]
    assert len(causes_of(failures)) == 2


def test_texts_are_clean_and_short():
    ((count, text),) = told(["\x1b[31mred\x1b[0m \ud800 \x00" + "x" * 30_000_000 + " the end"])
    assert count == 1
    assert len(text) <= MAX_TEXT
    assert text.isprintable()
    assert text.startswith("red ")
    assert text.endswith("the end")


def test_a_million_different_errors_are_bounded():
    words = ["alpha" + "".join(chr(ord("a") + int(digit)) for digit in str(n)) for n in range(3 * MAX_CAUSES)]
    causes = causes_of(failed(n, word) for n, word in enumerate(words))
    assert len(causes) == MAX_CAUSES + 1
    assert (causes[0].count, causes[0].text) == (2 * MAX_CAUSES, OTHERS)


def test_an_error_without_a_word_is_told_all_the_same():
    assert told(["", "  \n"]) == [(2, "")]
