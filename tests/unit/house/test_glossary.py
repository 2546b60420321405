"""The glossary lists the words that are used, and names what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
ENTRIES = [(word, meaning) for word, meaning in ROWS if word not in {"word", "---"}]
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
DOCUMENTS = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "glossary.md")]


def words_of(text):
    """In lower case, with names of the code taken apart."""
    return re.sub(r"[\s_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).lower()


TEXT = words_of("\n".join([SOURCE, *(path.read_text() for path in DOCUMENTS)]))
NAMES = [name for _, meaning in ENTRIES for name in re.findall(r"`([A-Z]\w+)`", meaning)]
MUST_BE_THERE = {
    "CommandLine",
    "Deliverables",
    "FaultModel",
    "Fleet",
    "GatewayRunner",
    "HarvesterWorker",
    "Membership",
    "Merges",
    "NodeExchange",
    "ProcessGuard",
    "RangeSource",
    "ReadyQueue",
    "RecoveryStore",
    "Trace",
    "WorkerSlot",
}
"""Words that nobody can know who has not read the code."""


@pytest.mark.parametrize("word", [part for word, _ in ENTRIES for part in word.split(", ")])
def test_a_word_is_used(word):
    assert re.search(rf"\b{re.escape(words_of(word))}s?\b", TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_exists(name):
    assert re.search(rf"^class {name}\b", SOURCE, re.MULTILINE)


def test_words_of_our_own_are_explained():
    assert set(NAMES) >= MUST_BE_THERE


def test_a_word_stands_once_and_has_one_line():
    words = [part for word, _ in ENTRIES for part in word.split(", ")]
    assert len(words) == len(set(words)) > 60
    assert all(len(meaning) <= 120 for _, meaning in ENTRIES)
