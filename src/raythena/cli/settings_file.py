"""A settings file as a list of entries, each with the line it stands on.

The file is YAML of exactly two levels: groups, and scalar values in them. Rules: one document; a key stands once; numbers are
plain decimals; nothing but plain scalars is ever constructed, so a hostile file can cost no more than its own size. Which groups
and names exist is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from raythena.domain.document import check_number
from raythena.domain.errors import InvalidInput

MAX_SIZE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class FileValue:
    """One entry. `name` is None for a group without values, which may stand there as a reminder."""

    group: str
    group_line: int
    """Lines are counted from 1."""
    name: str | None
    value: object
    line: int


def read_settings_file(path: Path) -> list[FileValue]:
    """The entries of `path` in the order they stand. An empty file has none. Raises InvalidInput."""
    text = _text(path)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return list(_entries(path, loader, root)) if root is not None and not _is_nothing(root) else []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InvalidInput(where, "", f"not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput(str(path), "", f"not YAML: {str(error).splitlines()[0]}") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_SIZE_BYTES:
            raise InvalidInput(str(path), "", "too large for a settings file", expected=f"at most {MAX_SIZE_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), "", f"not text: byte {error.start} is not UTF-8", expected="YAML in UTF-8") from None
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}", expected="a readable YAML file") from None


def _entries(path: Path, loader: yaml.SafeLoader, root: yaml.Node) -> Iterator[FileValue]:
    for group, line, content in _pairs(path, loader, root, "", "groups of settings, for example `nodes:`"):
        if _is_nothing(content):
            yield FileValue(group, line, None, None, line)
            continue
        for name, value_line, value in _pairs(path, loader, content, group, f"settings below `{group}:`, one a line"):
            scalar = _scalar(loader, value, f"{path}:{value_line}", f"{group}.{name}")
            yield FileValue(group, line, name, scalar, value_line)


def _scalar(loader: yaml.SafeLoader, node: yaml.Node, source: str, field: str) -> object:
    if not isinstance(node, yaml.ScalarNode):
        raise InvalidInput(source, field, "not a single value", expected="a number or text")
    check_number(node, source, field)
    try:
        return loader.construct_object(node)
    except ValueError as error:  # a date that does not exist, an integer of thousands of digits
        raise InvalidInput(source, field, f"not a value: {error}", expected="a number or text") from None


def _pairs(
    path: Path, loader: yaml.SafeLoader, node: yaml.Node, field: str, expected: str
) -> Iterator[tuple[str, int, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput(f"{path}:{node.start_mark.line + 1}", field, "no mapping of names to values", expected=expected)
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        if key in seen:
            dotted = f"{field}.{key}" if field else key
            raise InvalidInput(f"{path}:{line}", dotted, f"stands twice, first in line {seen[key]}", expected="every key once")
        seen[key] = line
        yield key, line, value_node


def _is_nothing(node: yaml.Node) -> bool:
    empty = isinstance(node, yaml.MappingNode) and not node.value
    return empty or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null")
