"""Words as a shell makes them: against Python's shlex, and against the shell itself where the two differ."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput
from raythena.domain.transform import quoted, refuse_operators, split_words

SHELLISH = st.text(st.sampled_from("ab-= '\"\\\t\n$,[@é\u00a0;"), max_size=40)


def by_shlex(text):
    try:
        return shlex.split(text)
    except ValueError:
        return None


def ours(text):
    try:
        return [word.value for word in split_words(text)]
    except InvalidInput:
        return None


@given(SHELLISH.filter(lambda text: not re.search(r"\\[$`\n]", text)))
@example("'a'\"b\"c\\ d '' \"\"")
@example("\\")
def test_words_are_those_of_shlex(text):
    assert ours(text) == by_shlex(text)


@pytest.mark.parametrize(
    "text",
    [r'"\$HOME"', r'"\`x\`"', '"a\\\nb"', "a\\\nb", "a \\\n b", r'"\a"', r"\$HOME", r'"\\"', r"'\$'", "--x=1 \\\n  --y='2 3'"],
)
def test_where_shlex_is_no_shell_the_shell_is_right(text):
    said = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], capture_output=True, check=True, text=True).stdout
    assert ours(text) == said.split("\0")[:-1]


@given(SHELLISH)
def test_every_word_says_where_it_stands(text):
    if ours(text) is None:
        return
    words = split_words(text)
    assert [word.number for word in words] == list(range(1, len(words) + 1))
    for word in words:
        assert ours(text[word.start : word.end]) == [word.value]
    edges = [0, *(edge for word in words for edge in (word.start, word.end)), len(text)]
    assert edges == sorted(edges)
    between = "".join(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    assert between.replace("\\\n", "").strip(" \t\r\n") == ""


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_quoted_text_is_one_word(text):
    assert ours(quoted(text)) == [text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--preExec 'abc", 'character 11: the quote in "\'abc" is never closed'),
        ('a "b', "character 3: the quote"),
        ('"a\\', "never closed"),
        ("ab\\", "character 3: a backslash ends the text"),
        ("a\0b", "character 2: is a NUL"),
    ],
)
def test_what_a_shell_could_not_read_is_refused_with_its_place(text, said):
    with pytest.raises(InvalidInput, match="jobPars") as problem:
        split_words(text)
    assert said in str(problem.value)


@pytest.mark.parametrize(
    ("text", "position", "character"),
    [
        ("--a=1; rm x", 6, ";"),
        ("--a=1;", 6, ";"),
        ("--a='b'|c", 8, "|"),
        ("--preExec=f(x)", 12, "("),
        ("--preExec 'f(x' )", 17, ")"),
        ("--a=1 2>&1", 8, ">"),
        ("--a # all else", 5, "#"),
        ("--a &", 5, "&"),
    ],
)
def test_what_would_end_the_command_in_a_shell_is_refused_with_its_position(text, position, character):
    with pytest.raises(InvalidInput) as refusal:
        refuse_operators(text)
    assert refusal.value.field == f"character {position}"
    assert repr(character) in str(refusal.value)


@pytest.mark.parametrize("text", ["--a='b;c' \"(x)\" \\; --b=$X`date`", "", "--a=b#c", "'#' \\# a\\\n --b"])
def test_what_is_quoted_is_no_operator(text):
    refuse_operators(text)
