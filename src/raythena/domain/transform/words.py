"""Job parameters as the words a shell would make of them, each with the place it came from.

PanDA writes job parameters for a shell: quotes, escapes, any white space. A rewrite must give every word it does not touch back
byte for byte, so this lexer keeps, besides what a word means, where it stands in the text.

Rules: nothing is expanded. `$NAME`, `${NAME}` and back-quotes stay as they are written, because what they stand for is known only
where the command runs; patterns such as `*` are left to the program as well. What would end the command in a shell (`;`, `|`, …)
is an ordinary character here; `refuse_operators` is for texts that a shell is going to read.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from raythena.domain.errors import InvalidInput

_SPACE = " \t\r\n"
_BARE = re.compile(r"""[^\s'"\\]+""", re.ASCII)
_IN_DOUBLE_QUOTES = re.compile(r'[^"\\]+')
_OPERATOR = re.compile(r"[;|&<>()]")
_ESCAPED_IN_DOUBLE_QUOTES = '"\\$`'


@dataclass(frozen=True, slots=True)
class Word:
    """One word: `text[start:end]` of the job parameters means `value`; `number` counts the words from 1.

    A word that stands in an argument file has the place of the `@file` that brought it, and the name of the `file`.
    """

    value: str
    start: int
    end: int
    number: int
    file: str = ""


def split_words(text: str, source: str = "jobPars") -> tuple[Word, ...]:
    """The words of `text` under the quoting rules of a POSIX shell. Raises InvalidInput for a quote that is never closed."""
    if (nul := text.find("\0")) >= 0:
        raise InvalidInput(source, f"character {nul + 1}", "is a NUL character", expected="text")
    found: list[Word] = []
    position = _skip_space(text, 0)
    while position < len(text):
        value, end = _read_word(text, position, source)
        found.append(Word(value, position, end, len(found) + 1))
        position = _skip_space(text, end)
    return tuple(found)


def refuse_operators(text: str, source: str = "jobPars") -> None:
    """Refuse what a shell would take for the end of the command, a pipe, a file to write or a comment, if nothing quotes it.

    Raises InvalidInput with its position. `$NAME` and back-quotes are not meant: what they stand for is known where it runs.
    """
    position = _skip_space(text, 0)
    while position < len(text):
        begins_word = position == 0 or text[position - 1] in _SPACE
        _, end = _read_part(text, position, source)
        found = _OPERATOR.search(text, position, end) if text[position] not in "'\"\\" else None
        at = position if begins_word and text[position] == "#" else found.start() if found else None
        if at is not None:
            problem = f"{text[at]!r} stands outside quotes: a shell would take it for the end of the command, or more"
            hint = "Quote the value it belongs to"
            raise InvalidInput(source, f"character {at + 1}", problem, expected="arguments of one program", hint=hint)
        position = _skip_space(text, end)


def quoted(value: str) -> str:
    """`value` as one word for a shell, in quotes only if it needs them."""
    return shlex.quote(value)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and (text[position] in _SPACE or text.startswith("\\\n", position)):
        position += 1 if text[position] in _SPACE else 2
    return position


def _read_word(text: str, start: int, source: str) -> tuple[str, int]:
    """The meaning of the word at `start`, and where it ends."""
    parts: list[str] = []
    position = start
    while position < len(text) and text[position] not in _SPACE:
        part, position = _read_part(text, position, source)
        parts.append(part)
    return "".join(parts), position


def _read_part(text: str, position: int, source: str) -> tuple[str, int]:
    match text[position]:
        case "'":
            end = text.find("'", position + 1)
            if end < 0:
                raise _unclosed(text, position, source)
            return text[position + 1 : end], end + 1
        case '"':
            return _read_double_quotes(text, position, source)
        case "\\":
            if position + 1 == len(text):
                raise InvalidInput(
                    source, f"character {position + 1}", "a backslash ends the text", expected="a character after it"
                )
            # a line that goes on: the shell drops both characters
            return text[position + 1].replace("\n", ""), position + 2
        case character:
            bare = _BARE.match(text, position)
            # Unicode has more white space than the shell
            return (bare.group(), bare.end()) if bare else (character, position + 1)


def _read_double_quotes(text: str, start: int, source: str) -> tuple[str, int]:
    parts: list[str] = []
    position = start + 1
    while position < len(text) and text[position] != '"':
        if plain := _IN_DOUBLE_QUOTES.match(text, position):
            parts.append(plain.group())
            position = plain.end()
            continue
        following = text[position + 1 : position + 2]
        if following and following in _ESCAPED_IN_DOUBLE_QUOTES:
            parts.append(following)
        elif following != "\n":
            parts.append("\\" + following)
        position += 2
    if position >= len(text):
        raise _unclosed(text, start, source)
    return "".join(parts), position + 1


def _unclosed(text: str, position: int, source: str) -> InvalidInput:
    excerpt = text[position : position + 30]
    return InvalidInput(
        source, f"character {position + 1}", f"the quote in {excerpt!r} is never closed", expected="a closing quote"
    )
