"""What `docs/how-it-works.md` names exists in the code, under that name."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "how-it-works.md").read_text()
NAMES = sorted({name for name in re.findall(r"`([^`\n]+)`", TEXT) if re.fullmatch(r"[\w.]+", name)})
NOT_CODE = {
    "failed": "what PanDA is told of an event",
    "fatal": "what PanDA is told of an event",
    "staging": "a directory",
}


def defined() -> set[str]:
    """Classes, functions, methods, constants and members of enumerations of the whole package."""
    names: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names.add(name)
                case ast.Assign(targets=targets):
                    names.update(target.id for target in targets if isinstance(target, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(name)
    return names


DEFINED = defined()


def exists(name: str) -> bool:
    if name.startswith("raythena."):
        return importlib.util.find_spec(name) is not None
    return all(part in DEFINED for part in name.split("."))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_CODE])
def test_a_name_exists_in_the_code(name):
    assert exists(name)


def test_the_way_of_an_event_is_told_with_names():
    way = TEXT[TEXT.index("## One event") : TEXT.index("## Ranges that PanDA")]
    states = [name for name in re.findall(r"`([A-Z]+)`", way) if len(name) > 3]
    assert states == ["READY", "LEASED", "ACCEPTED", "STORED", "MERGED"]
    assert len(set(re.findall(r"`([A-Z][a-z]\w+)`", way))) > 30


@pytest.mark.parametrize("name", ["CoordinatorDesk", "raythena.engine.desk", "Engine.leap"])
def test_a_name_that_is_no_more_is_noticed(name):
    assert not exists(name)


def test_exceptions_are_used():
    assert NOT_CODE.keys() <= set(NAMES)
