"""State changes in one place: in the engine no module assigns to what belongs to a class of another module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import raythena.engine

MODULES = sorted(Path(raythena.engine.__path__[0]).glob("*.py"))


def written_to(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                for target in targets:
                    yield from target.elts if isinstance(target, ast.Tuple) else [target]
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                yield target


def attributes_of(tree: ast.AST) -> set[str]:
    """Fields of the classes of a module: those declared, and those its methods give to themselves."""
    declared = {
        item.target.id for item in ast.walk(tree) if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    given = {item.attr for item in ast.walk(tree) if isinstance(item, ast.Attribute) and ast.unparse(item.value) == "self"}
    return declared | given


def foreign_writes(text: str) -> list[str]:
    tree = ast.parse(text)
    own = attributes_of(tree)
    writes = []
    for target in written_to(tree):
        owner = target.value if isinstance(target, ast.Subscript) else target
        if not isinstance(owner, ast.Attribute):
            continue
        is_own = ast.unparse(owner.value) == "self" or (isinstance(owner.value, ast.Name) and owner.attr in own)
        if not is_own:
            writes.append(f"{target.lineno}: {ast.unparse(target)}")
    return writes


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_belongs_to_another_module_is_changed_by_its_verbs(path):
    assert foreign_writes(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    ["node.queued = 0", "self._state.stopping = 'now'", "table.attempt[3] = 1", "self.merges.open[3] -= 1", "del a.b.c[0]"],
)
def test_a_foreign_write_is_seen(line):
    assert len(foreign_writes(f"class Part:\n    def step(self, node, table, a):\n        {line}\n")) == 1


@pytest.mark.parametrize("line", ["self.x = 1", "self.x[0] = 1", "record.x, y = 1, 2", "z = 3"])
def test_ones_own_is_not_foreign(line):
    assert foreign_writes(f"class Part:\n    x: int\n    def step(self, record):\n        {line}\n") == []
