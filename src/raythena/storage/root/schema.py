"""What the trees of a ROOT file are made of, in a form that can be compared: names, types and titles of all branches.

Two files can be merged if their schemas are equal, and a merged file is right if it has the schema of what it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raythena.storage.root.contents import DIRECTORIES, RNTUPLES, TTREES, taken


@dataclass(frozen=True, slots=True)
class BranchSchema:
    """A branch of a TTree or a field of an RNTuple, nested ones by their path."""

    name: str
    type: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class TreeSchema:
    """A tree: its class, its title, its branches in order."""

    class_name: str
    title: str
    branches: tuple[BranchSchema, ...]


FileSchema = Mapping[str, TreeSchema | str]
"""Path of every object → its schema if it is a tree, else its class. Without directories."""


def file_schema(file: Any, held: Mapping[str, str]) -> dict[str, TreeSchema | str]:
    """The schema of a file with the contents `held`."""
    found: dict[str, TreeSchema | str] = {}
    for path, class_name in held.items():
        if class_name in TTREES or class_name in RNTUPLES:
            found[path] = tree_schema(taken(file, path))
        elif class_name not in DIRECTORIES:
            found[path] = class_name
    return found


def tree_schema(tree: Any) -> TreeSchema:
    """The schema of one tree."""
    if tree.classname in RNTUPLES:
        return TreeSchema("ROOT::RNTuple", tree.description, _fields(tree))
    branches = tree.iteritems(recursive=True, full_paths=True)
    return TreeSchema(tree.classname, tree.title, tuple(_branch(name, branch) for name, branch in branches))


def unordered(schema: FileSchema) -> FileSchema:
    """The same with all branches in the order of their names: where counters stand among them is the writer's choice."""
    return {
        path: replace(tree, branches=tuple(sorted(tree.branches, key=lambda branch: branch.name)))
        if isinstance(tree, TreeSchema)
        else tree
        for path, tree in schema.items()
    }


def difference(expected: FileSchema, found: FileSchema) -> str:
    """The first thing in which `found` is not as expected, in words; empty when nothing is."""
    for path in [*expected, *(path for path in found if path not in expected)]:
        if path not in found:
            return f"has no {_kind(expected[path])} {path!r}"
        if path not in expected:
            return f"holds {_kind(found[path])} {path!r}"
        ours, theirs = expected[path], found[path]
        if ours != theirs:
            if isinstance(ours, TreeSchema) and isinstance(theirs, TreeSchema):
                return f"tree {path!r} differs: {_tree_difference(ours, theirs)}"
            return f"{path!r} is a {_class(theirs)} instead of a {_class(ours)}"
    return ""


def _branch(name: str, branch: Any) -> BranchSchema:
    counter = branch.count_branch
    counted = "" if counter is None else f" counted by {counter.name}"
    return BranchSchema(name, branch.typename + counted, branch.title)


def _fields(ntuple: Any) -> tuple[BranchSchema, ...]:
    records = ntuple.field_records
    paths: list[str] = []
    for number, record in enumerate(records):
        parent = record.parent_field_id
        paths.append(record.field_name if parent == number else f"{paths[parent]}.{record.field_name}")
    return tuple(BranchSchema(path, record.type_name) for path, record in zip(paths, records, strict=True))


def _kind(schema: TreeSchema | str) -> str:
    return "tree" if isinstance(schema, TreeSchema) else schema


def _class(schema: TreeSchema | str) -> str:
    return schema.class_name if isinstance(schema, TreeSchema) else schema


def _tree_difference(expected: TreeSchema, found: TreeSchema) -> str:
    if expected.class_name != found.class_name:
        return f"it is a {found.class_name} instead of a {expected.class_name}"
    if expected.title != found.title:
        return f"its title is {found.title!r} instead of {expected.title!r}"
    ours, theirs = ({branch.name: branch for branch in schema.branches} for schema in (expected, found))
    for name in ours | theirs:
        if name not in theirs:
            return f"branch {name!r} is missing"
        if name not in ours:
            return f"branch {name!r} is new"
        if ours[name].type != theirs[name].type:
            return f"branch {name!r} is {theirs[name].type} instead of {ours[name].type}"
        if ours[name].title != theirs[name].title:
            return f"branch {name!r} is titled {theirs[name].title!r} instead of {ours[name].title!r}"
    return "the branches are in another order"
