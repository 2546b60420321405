"""What CONTRIBUTING says of layers and habits holds, where that can be checked by reading the code."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from raythena.domain.errors import ExitCode

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "raythena"
FILES = sorted(SOURCE.rglob("*.py"))
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "array",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "numpy",
    "posixpath",
    "pydantic",
    "pydantic_core",
    "raythena",
    "re",
    "shlex",
    "statistics",
    "string",
    "struct",
    "typing",
    "unicodedata",
    "urllib",
    "uuid",
    "xml",
    "yaml",
    "zlib",
}
"""What the domain and the engine may import: nothing here knows the time, throws dice or touches the world."""


def name_of(path):
    return str(path.relative_to(SOURCE))


def layers_told():
    """The first column of the table of layers in CONTRIBUTING, from the top down, each row a set of names."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    return [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]


def test_the_layers_told_are_those_that_are_checked():
    (layers,) = [contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"]
    assert layers_told() == [{name.strip().removeprefix("raythena.") for name in layer.split("|")} for layer in layers]


def test_everything_belongs_to_a_layer():
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert packages | modules == set().union(*layers_told())


@pytest.mark.parametrize("layer", ["domain", "engine"])
def test_the_core_imports_only_what_is_pure(layer):
    for path in sorted((SOURCE / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {module.partition(".")[0] for module in modules} <= PURE, name_of(path)
            if isinstance(node, ast.Attribute) and node.attr in {"uuid1", "uuid4", "default_rng"}:
                pytest.fail(f"{name_of(path)}:{node.lineno} throws dice")


def test_values_of_the_domain_are_frozen():
    for path in sorted((SOURCE / "domain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", []) if isinstance(node, ast.ClassDef) else []:
                text = ast.unparse(decorator)
                assert not text.startswith("dataclass") or "frozen=True" in text, f"{name_of(path)} {node.name}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_opens_with_prose(path):
    assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 20


def test_a_broad_except_says_why():
    silent = []
    for path in FILES:
        lines = [*path.read_text().splitlines(), ""]
        for number, line in enumerate(lines):
            if "BLE001" in line:
                reason = re.search(r"BLE001 *[(-] *\w", line) or lines[number + 1].strip().startswith("#")
                silent += [] if reason else [f"{name_of(path)}:{number + 1}"]
    assert silent == []


@pytest.mark.parametrize("path", sorted((SOURCE / "cli").rglob("*.py")), ids=name_of)
def test_an_exit_code_has_a_name(path):
    """No bare number is the code a command ends with, or is compared with one."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (set(_numbers_as_codes(node)) & {int(code) for code in ExitCode if code}), f"{name_of(path)}:{node.lineno}"


def _numbers_as_codes(node):
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func).rpartition(".")[2]
        yield from _numbers(node.args if called in {"Exit", "SystemExit", "exit", "_exit"} else [])
    if isinstance(node, ast.Compare) and "code" in ast.unparse(node):
        yield from _numbers([node.left, *node.comparators])
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        names = {ast.unparse(part) for part in node.elts}
        beside_a_code = any(re.match(r"ExitCode\.|TERMINATED$|INTERRUPTED$", name) for name in names)
        yield from _numbers(node.elts if beside_a_code else [])


def _numbers(nodes):
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int)


@pytest.mark.parametrize(
    "text", ["raise typer.Exit(5)", "sys.exit(4)", "x = exit_code == 5", "codes = (5, TERMINATED, 130)", "y = {ExitCode.OK, 4}"]
)
def test_a_bare_exit_code_is_noticed(text):
    assert any(list(_numbers_as_codes(node)) for node in ast.walk(ast.parse(text)))
