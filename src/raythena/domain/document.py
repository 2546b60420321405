"""Documents people hand us, and places inside them.

Two jobs: turn YAML or JSON text into a tree of plain values, and walk such a tree so that every complaint names the file, the
place in it (`inputs[2].events`) and what would have been right.

Rules: a key given twice is refused, because silently keeping one of the two is a guess; YAML anchors are refused, because a few
lines of them describe a tree larger than any memory; numbers in YAML are plain decimals, because 010 is eight to YAML and ten to
people; nesting is bounded before a recursive reader sees it. What a field means is none of this module's business.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from raythena.domain.errors import InvalidInput

MAX_DEPTH = 40
"""Levels of nesting a document may have."""

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: JSON and YAML escapes can smuggle one in, and nothing can write it as UTF-8."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

_PLAIN_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE)
"""Numbers that mean the same to everybody. YAML has others: octal, hexadecimal, binary, of base 60, with underscores."""
_NUMBER_TAGS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}

_YamlLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str, source: str) -> object:
    """The tree of a YAML document. Raises InvalidInput with the line at fault."""
    try:
        _check_events(text, source)
        loader = _YamlLoader(text)
        node = loader.get_single_node()
        _check_keys(node, source)
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InvalidInput(source, _line(getattr(error, "problem_mark", None)), f"is not valid YAML: {_what(error)}") from error
    except ValueError as error:
        raise InvalidInput(
            source, "", f"holds a value that cannot be read: {error}", hint="Put it in quotes to keep it text"
        ) from error


def check_number(node: yaml.Node, source: str, field: str = "") -> None:
    """Refuse a number that YAML reads as another one than most people. Raises InvalidInput with its line, or `field`."""
    if node.tag in _NUMBER_TAGS and isinstance(node, yaml.ScalarNode) and not _PLAIN_NUMBER.fullmatch(node.value):
        read = yaml.SafeLoader("").construct_object(node)
        problem = f"{node.value} is a number that is not written as a plain decimal; YAML reads it as {shown(read)}"
        hint = f"Write {shown(read)} if that is meant, and quotes around it to keep it text"
        raise InvalidInput(source, field or _line(node.start_mark), problem, expected="a plain decimal number", hint=hint)


def read_json(text: str, source: str) -> object:
    """The tree of a JSON document. Raises InvalidInput with the line at fault; a file cut short is said to be cut short."""
    if not text.strip():
        raise InvalidInput(source, "", "is empty")
    try:
        return json.loads(text, object_pairs_hook=_Pairs(source), parse_constant=_Constant(source))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}"
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise InvalidInput(
                source, where, "ends in the middle", hint="It may still be being written, or was cut short"
            ) from error
        raise InvalidInput(source, where, f"is not valid JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise InvalidInput(source, "", "is nested too deeply", expected=f"at most {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise InvalidInput(source, "", f"holds a number that cannot be read: {error}") from error


def _check_events(text: str, source: str) -> None:
    """Refuse anchors and deep nesting on the flat stream of YAML events, before anything recursive reads the text."""
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InvalidInput(source, _line(event.start_mark), "uses a YAML anchor or alias", expected="every value written out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise InvalidInput(source, _line(event.start_mark), "is nested too deeply", expected=f"at most {MAX_DEPTH} levels")


def _check_keys(node: yaml.Node | None, source: str) -> None:
    """Refuse mappings with a key that is given twice or is no plain text, and numbers that are not written as plain decimals."""
    if node is not None:
        check_number(node, source)
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check_keys(child, source)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, child in node.value:
        line = _line(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            raise InvalidInput(source, line, "uses a list or a mapping as a key", expected="a plain word")
        if key.value in seen:
            raise InvalidInput(source, line, f"the key {key.value!r} is given twice", expected="every key once")
        seen.add(key.value)
        _check_keys(child, source)


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}" if mark is not None else ""


def _what(error: yaml.YAMLError) -> str:
    parts = (getattr(error, "context", None), getattr(error, "problem", None) or getattr(error, "reason", None))
    return ", ".join(part for part in parts if part) or str(error).splitlines()[0]


@dataclass(frozen=True)
class _Pairs:
    """Builds JSON objects; refuses a key given twice."""

    source: str

    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        built = dict(pairs)
        if len(built) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidInput(self.source, twice, f"the key {twice!r} is given twice", expected="every key once")
        return built


@dataclass(frozen=True)
class _Constant:
    """Refuses NaN and Infinity, which JSON does not have."""

    source: str

    def __call__(self, name: str) -> object:
        raise InvalidInput(self.source, "", f"holds {name}, which is no JSON number")


def shown(value: object) -> str:
    """`value` as it may appear in a message: printable, one line, at most 80 characters."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint naming the known word closest to `word`; empty when nothing is close."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {match[0]!r}?" if match else ""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A value and where it stands: `source` is the file, `field` the path inside it, empty for the whole document."""

    source: str
    field: str
    value: Any

    def refuse(self, problem: str, *, expected: str = "", hint: str = "") -> InvalidInput:
        """The error that says what is wrong here; the caller raises it."""
        return InvalidInput(self.source, self.field, problem, expected=expected, hint=hint)

    @property
    def given(self) -> bool:
        """Whether there is a value; an empty one (null) counts as left out."""
        return self.value is not None

    def entry(self, key: str) -> FieldPath:
        """The place of `key` in this mapping; its value is None when the key is missing."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        name = key if key.isprintable() else shown(key)
        return FieldPath(self.source, f"{self.field}.{name}" if self.field else name, value)

    def items(self, *, at_least: int = 0) -> list[FieldPath]:
        """The places of a list. Raises InvalidInput for anything else or fewer than `at_least`."""
        if not isinstance(self.value, list):
            raise self.refuse(f"is {shown(self.value)}", expected="a list")
        if len(self.value) < at_least:
            raise self.refuse("is empty" if not self.value else f"has {len(self.value)} entries", expected=f"at least {at_least}")
        return [FieldPath(self.source, f"{self.field}[{index}]", value) for index, value in enumerate(self.value)]

    def mapping(self, known: Collection[str], required: Collection[str] = ()) -> FieldPath:
        """This place, which must be a mapping with `known` keys only and all `required` ones."""
        if not isinstance(self.value, dict):
            raise self.refuse(f"is {shown(self.value)}", expected="a mapping with the keys " + ", ".join(known))
        for key in self.value:
            if key not in known:
                place = self.entry(key) if isinstance(key, str) else self
                hint = nearest(str(key), known)
                raise place.refuse(f"unknown key {shown(key)}", expected="one of " + ", ".join(known), hint=hint)
        for key in required:
            if self.value.get(key) is None:
                raise self.entry(key).refuse("is missing", expected="a value")
        return self

    def text(self, expected: str = "text") -> str:
        """A single line of text, not empty, without control characters."""
        value = self.value
        if not isinstance(value, str):
            hint = "Put it in quotes" if isinstance(value, int | float) else ""
            raise self.refuse(f"is {shown(value)}", expected=expected, hint=hint)
        if not value.strip():
            raise self.refuse("is empty", expected=expected)
        if _UNPRINTABLE.search(value):
            raise self.refuse(f"holds control characters: {shown(value)}", expected=expected)
        return value

    def count(self, *, minimum: int = 1, maximum: int | None = None) -> int:
        """A whole number between `minimum` and `maximum`."""
        expected = f"a whole number of at least {minimum}" + ("" if maximum is None else f" and at most {maximum:,}")
        value = self.value
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(f"is {shown(value)}", expected=expected)
        if value < minimum or (maximum is not None and value > maximum):
            raise self.refuse(f"is {shown(value)}", expected=expected)
        return value

    def plain(self, depth: int = 0) -> Any:
        """Any value JSON can carry, unchanged. Raises InvalidInput at the first that it cannot."""
        value = self.value
        if depth > MAX_DEPTH:
            raise self.refuse("is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
        if isinstance(value, dict):
            return {self._plain_key(key): self.entry(key).plain(depth + 1) for key in value}
        if isinstance(value, list):
            return [place.plain(depth + 1) for place in self.items()]
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, str) and not _SURROGATE.search(value):
            return value
        expected = "text, a number, true, false, null, a list or a mapping"
        raise self.refuse(f"is {shown(value)}", expected=expected, hint="Put it in quotes")

    def _plain_key(self, key: object) -> str:
        if not isinstance(key, str) or _SURROGATE.search(key):
            raise self.refuse(f"has the key {shown(key)}", expected="text as keys", hint="Put it in quotes")
        return key
