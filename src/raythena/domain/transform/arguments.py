"""The arguments of a transform as its command line gives them, and a way to change one without touching the others.

`CommandLine.parse` reads job parameters as the transform would: shell words, `@file` (each line of the file one argument), and
then argparse's grammar with names that may be aliases or unique prefixes, `--name=value`, and `--name value value …`. What comes
back is a value; `set`, `replace`, `append` and `remove` each give a new one.

Rules: `text` is always the whole command line and is what a transform should be given. An edit changes the bytes of the argument
it is about and the white space after one that goes away; the rest stays byte for byte. Contents of `@file` are written out in the
text only when an argument from it has to be changed. What argparse would refuse for any transform is refused here, naming
the argument and its position: a word that belongs to no argument, an argument that lacks its value, a prefix of two names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from raythena.domain.errors import InvalidInput
from raythena.domain.transform.values import Substep, file_names, substeps
from raythena.domain.transform.vocabulary import SIMULATION, Kind, Known, Vocabulary
from raythena.domain.transform.words import Word, quoted, split_words

MAX_FILE_DEPTH = 8
"""Argument files inside argument files; more is a loop."""

_OPTION = re.compile(r"--([A-Za-z_][\w.-]*)(?:=(.*))?", re.ASCII | re.DOTALL)
_SHORT = re.compile(r"-([ch])(?:=?(.+))?", re.ASCII | re.DOTALL)
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as given.

    `name` is its full name without dashes, `written` the name as it stands there (`--inputEVNT`), `values` what was given, one
    text for each word. `words` are the words it is made of, the first holds the name.
    """

    name: str
    written: str
    values: tuple[str, ...]
    words: tuple[Word, ...]
    inline: bool
    """Whether the value was given as `--name=value`."""

    @property
    def from_file(self) -> bool:
        """Whether a word of it stands in an argument file."""
        return any(word.file for word in self.words)

    @property
    def start(self) -> int:
        """Offset of its first character in the command line."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.words[-1].end

    @property
    def position(self) -> str:
        """Where it stands, in words for a message."""
        return f"{self.written} (word {self.words[0].number})"


@dataclass(frozen=True)
class CommandLine:
    """The arguments of a transform. Make one with `parse`; `text` is the command line itself."""

    text: str
    source: str = "jobPars"
    vocabulary: Vocabulary = SIMULATION
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(
        cls,
        text: str,
        source: str = "jobPars",
        vocabulary: Vocabulary = SIMULATION,
        files: Mapping[str, str] | None = None,
    ) -> CommandLine:
        """Read job parameters. `files` gives the contents of argument files by the name after `@`.

        Raises InvalidInput; `source` is the name of the text in messages.
        """
        line = cls(text, source, vocabulary, dict(files or {}))
        _ = line.arguments
        return line

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """All arguments, in order, those that have no effect included."""
        return tuple(_Reader(self).read())

    @property
    def argv(self) -> tuple[str, ...]:
        """What the program is given: one text for each word. An `@file` stays what it is."""
        return tuple(word.value for word in split_words(self.text, self.source))

    def __str__(self) -> str:
        return self.text

    def given(self, name: str) -> tuple[Argument, ...]:
        """Every occurrence of an argument, by its full name or an alias."""
        full_name = self.vocabulary.known(name).name
        return tuple(argument for argument in self.arguments if argument.name == full_name)

    def get(self, name: str) -> Argument | None:
        """The occurrence that has effect: the last one."""
        return next(iter(reversed(self.given(name))), None)

    def values(self, name: str) -> tuple[str, ...]:
        """The values that have effect: of the last occurrence, or of all for an argument that collects. Empty when not given."""
        given = self.given(name)
        counting = given if self.vocabulary.known(name).collects else given[-1:]
        return tuple(value for argument in counting for value in argument.values)

    def file_names(self, name: str) -> tuple[str, ...]:
        """The files of a file argument: commas and bracket lists taken apart, repetitions dropped."""
        argument = self.get(name)
        return file_names(self.values(name), self.source, argument.position if argument else name)

    def substeps(self, name: str) -> tuple[Substep, ...]:
        """The values of a substep argument, each with the step it is for."""
        return substeps(self.values(name), self.vocabulary.known(name).default_substep)

    def of_kind(self, kind: Kind) -> tuple[str, ...]:
        """Full names of the arguments given that are of this kind, each once, in order."""
        known = (argument.name for argument in self.arguments if self.vocabulary.known(argument.name).kind is kind)
        return tuple(dict.fromkeys(known))

    def set(self, name: str, *values: str) -> CommandLine:
        """Give an argument these values: in the place it has, or at the end. Earlier occurrences go away.

        Raises InvalidInput for values the grammar cannot carry.
        """
        line = self._written_out(name)
        given = line.given(name)
        if not given:
            return line._added(line._rendered(f"--{name}", values))
        line = line._spliced(given[-1].start, given[-1].end, line._rendered(given[-1].written, values))
        for argument in reversed(given[:-1]):
            line = line._without(argument)
        return line

    def replace(self, name: str, *values: str) -> CommandLine:
        """Like `set`, for an argument that must be there. Raises InvalidInput when it is not."""
        if not self.given(name):
            raise InvalidInput(self.source, f"--{name}", "is not given", expected=f"an argument --{name}")
        return self.set(name, *values)

    def append(self, name: str, *values: str) -> CommandLine:
        """Give an argument further values, behind those it has, which keep their spelling.

        Raises InvalidInput for values that would be taken for arguments of their own.
        """
        line = self._written_out(name)
        argument = line.get(name)
        if argument is None:
            return line.set(name, *values)
        line._refuse_options(argument.written, (*argument.values, *values) if argument.inline else values)
        spelled = line._spelled_apart(argument) if argument.inline else line.text[argument.start : argument.end]
        return line._spliced(argument.start, argument.end, " ".join([spelled, *map(quoted, values)]))

    def remove(self, name: str) -> CommandLine:
        """Take every occurrence of an argument away; the same command line when there is none."""
        line = self._written_out(name)
        for argument in reversed(line.given(name)):
            line = line._without(argument)
        return line

    def _written_out(self, name: str) -> CommandLine:
        """The same command line, with argument files written out if `name` is in one of them."""
        return self.written_out() if any(argument.from_file for argument in self.given(name)) else self

    def written_out(self) -> CommandLine:
        """The same arguments without argument files: each `@file` gives way to what it holds."""
        line = self
        for word in reversed(split_words(self.text, self.source)):
            if word.value.startswith("@"):
                written = " ".join(quoted(inner.value) for inner in _Reader(self).opened(word))
                line = line._spliced(word.start, word.end, written)
        return line

    def _spelled_apart(self, argument: Argument) -> str:
        """`--name=value` as `--name value`."""
        spelled = self.text[argument.start : argument.end]
        name, equals, value = spelled.partition("=")
        if not equals or name != argument.written:  # the name stands in quotes, or a short name without `=`
            value = quoted(argument.values[0])
        return f"{argument.written} {value or quoted('')}"

    def _spliced(self, start: int, end: int, replacement: str) -> CommandLine:
        line = replace(self, text=self.text[:start] + replacement + self.text[end:])
        _ = line.arguments
        return line

    def _added(self, rendered: str) -> CommandLine:
        # always a blank: the last one there may be escaped, or the line may be one that goes on
        return self._spliced(len(self.text), len(self.text), f" {rendered}" if self.text else rendered)

    def _without(self, argument: Argument) -> CommandLine:
        others = [other for other in self.arguments if other.start != argument.start]
        following = next((other.start for other in others if other.start > argument.start), None)
        if following is not None:
            return self._spliced(argument.start, following, "")
        return self._spliced(others[-1].end if others else 0, argument.end, "")

    def _rendered(self, written: str, values: tuple[str, ...]) -> str:
        if not values:
            return written
        if len(values) == 1:
            return f"{written}={quoted(values[0])}" if values[0] else f"{written}="
        self._refuse_options(written, values)
        return " ".join([written, *map(quoted, values)])

    def _refuse_options(self, written: str, values: tuple[str, ...]) -> None:
        before = split_words(written)
        for value in values:
            if value.startswith("@") or _Reader(self).is_option(value, list(before)):
                hint = "Only a single value, as --name=value, may look like an argument"
                raise InvalidInput(self.source, written, f"the value {value!r} would be taken for an argument", hint=hint)


class _Reader:
    """Reads the words of one command line as argparse does."""

    def __init__(self, line: CommandLine) -> None:
        self._line = line

    def read(self) -> list[Argument]:
        """All arguments."""
        found: list[Argument] = []
        group: list[Word] = []
        for word in self._words():
            if self.is_option(word.value, group):
                found += self._argument(group)
                group = [word]
            elif not group:
                raise self._refuse(word, "belongs to no argument", "an argument such as --maxEvents=10 before it")
            else:
                group.append(word)
        return found + self._argument(group)

    def opened(self, word: Word, depth: int = 0) -> list[Word]:
        """The words an `@file` stands for; any other word stands for itself."""
        if not word.value.startswith("@"):
            return [word]
        name = word.value[1:]
        if depth == MAX_FILE_DEPTH:
            raise self._refuse(word, "is an argument file that includes itself", "argument files that end")
        if name not in self._line.files:
            raise self._refuse(word, "is an argument file whose contents nobody gave", "a file that can be read")
        lines = self._line.files[name].splitlines()
        return [inner for line in lines for inner in self.opened(replace(word, value=line, file=name), depth + 1)]

    def is_option(self, value: str, before: list[Word]) -> bool:
        """Whether a word begins an argument, when `before` are the words of the argument it follows.

        A negative number, a lone dash, and text with a blank in its name do not.
        """
        if not value.startswith("-") or value == "-" or _NEGATIVE.fullmatch(value):
            return False
        if " " not in value or _SHORT.fullmatch(value):
            return True
        match = _OPTION.fullmatch(value)
        # `--threads=4 --nprocs=2` is a value of --athenaopts; `--newArgument='a b'` is an argument we have not heard of
        return match is not None and (self._is_known(match[1]) or not self._hands_on(before))

    def _is_known(self, name: str) -> bool:
        try:
            return self._line.vocabulary.resolve(name) is not None
        except LookupError:
            return True

    def _hands_on(self, group: list[Word]) -> bool:
        """Whether the argument begun by these words may have a next value that is meant for another program."""
        if not group:
            return False
        known, _, value = self._option(group[0])
        return known.hands_on and value is None

    def _words(self) -> list[Word]:
        words = split_words(self._line.text, self._line.source)
        return [inner for word in words for inner in self.opened(word)]

    def _argument(self, group: list[Word]) -> list[Argument]:
        if not group:
            return []
        first, *others = group
        known, written, value = self._option(first)
        if value is not None and others:
            raise self._refuse(others[0], f"belongs to no argument: {written}= takes one word", f"all values behind {written}")
        if value == "--":
            raise self._refuse(first, "has a value that many versions of Python drop", "any other value")
        values = (value,) if value is not None else tuple(word.value for word in others)
        if known.needs_value and not values:
            raise self._refuse(first, "has no value", f"{written}=VALUE")
        return [Argument(known.name, written, values, tuple(group), value is not None)]

    def _option(self, word: Word) -> tuple[Known, str, str | None]:
        """The argument a word names, the name as written, and the value inside the word."""
        match = _OPTION.fullmatch(word.value)
        if match is None and (short := _SHORT.fullmatch(word.value)):
            return self._line.vocabulary.known({"c": "command", "h": "help"}[short[1]]), f"-{short[1]}", short[2]
        if match is None:
            raise self._refuse(word, "is no argument of a transform", "--name, --name=value or a value")
        name = match[1]
        try:
            known = self._line.vocabulary.resolve(name) or self._line.vocabulary.known(name)
        except LookupError as error:
            raise self._refuse(word, f"may be {error}", "more of the name") from None
        return known, f"--{name}", match[2]

    def _refuse(self, word: Word, problem: str, expected: str) -> InvalidInput:
        shown = word.value if len(word.value) <= 60 else word.value[:57] + "..."
        where = f"{shown!r} (word {word.number}, character {word.start + 1})"
        return InvalidInput(self._line.source, where, problem, expected=expected)
