"""How the house stands: size of functions and classes, `Any`, names of modules, lines of tests, circles of imports.

Printed by `python benchmarks/house.py`; `tests/unit/house/test_measures.py` holds the limits. Everything is read from the text of
the files; nothing of the project is imported.
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "raythena"
TESTS = ROOT / "tests"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Sized:
    """Something with a name and a size."""

    size: int
    name: str


@dataclass(frozen=True)
class Measures:
    """The figures of the whole tree."""

    source_lines: int
    test_lines: int
    functions: tuple[Sized, ...]
    """Lines of each body: signature and docstring do not count."""
    classes: tuple[Sized, ...]
    """Methods of each class."""
    any_by_layer: dict[str, tuple[int, int]]
    """How often `Any` is written, and lines."""
    shared_names: dict[str, tuple[str, ...]]
    """Modules that are called as another one, `__init__` left out."""
    circles: tuple[frozenset[str], ...]
    """Modules that import each other, at whatever place in the file."""

    @property
    def any_in_1000(self) -> float:
        """`Any` in a thousand lines of source."""
        return 1000 * sum(count for count, _ in self.any_by_layer.values()) / self.source_lines

    @property
    def tests_to_source(self) -> float:
        """Lines of tests for one line of source."""
        return self.test_lines / self.source_lines


def python_files(directory: Path) -> list[Path]:
    """Every Python file below a directory, sorted."""
    return sorted(path for path in directory.rglob("*.py") if "__pycache__" not in path.parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, parsed once."""
    return ast.parse(path.read_text())


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return path.read_text().count("\n")


def measure() -> Measures:
    """Look at everything."""
    source = python_files(SOURCE)
    return Measures(
        sum(map(lines_of, source)),
        sum(map(lines_of, python_files(TESTS))),
        tuple(found for path in source for found in functions_in(path)),
        tuple(found for path in source for found in classes_in(path)),
        _any_by_layer(source),
        _shared_names(source),
        tuple(circles(imports_of(source))),
    )


def functions_in(path: Path) -> Iterator[Sized]:
    """Every function of a file and how many lines its body has."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            size = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield Sized(size, f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}")


def classes_in(path: Path) -> Iterator[Sized]:
    """Every class of a file and how many methods it has."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef):
            yield Sized(sum(isinstance(child, Function) for child in node.body), f"{path.relative_to(SOURCE)} {node.name}")


def _any_by_layer(files: list[Path]) -> dict[str, tuple[int, int]]:
    counts: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in files:
        layer = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        counts[layer] += sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree_of(path)))
        lines[layer] += lines_of(path)
    return {layer: (counts[layer], lines[layer]) for layer in sorted(lines)}


def _shared_names(files: list[Path]) -> dict[str, tuple[str, ...]]:
    places = defaultdict(list)
    for path in files:
        if path.stem != "__init__":
            places[path.stem].append(str(path.relative_to(SOURCE)))
    return {name: tuple(paths) for name, paths in places.items() if len(paths) > 1}


def imports_of(files: list[Path]) -> dict[str, set[str]]:
    """For each module of the project the modules of the project it imports, anywhere in the file."""
    names = {_module(path) for path in files}
    return {_module(path): set(_imported(tree_of(path), names)) - {_module(path)} for path in files}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.Module, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in names or node.module in names:
                    yield inner if inner in names else node.module


def circles(imports: dict[str, set[str]]) -> Iterator[frozenset[str]]:
    """Groups of modules each of which can be reached from each other one."""
    reachable = {name: _reachable(name, imports) for name in imports}
    seen: set[str] = set()
    for name in sorted(imports):
        circle = frozenset(other for other in reachable[name] if name in reachable.get(other, ()))
        if circle and name not in seen:
            seen |= circle
            yield circle


def _reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        fresh = imports.get(ahead.pop(), set()) - found
        found |= fresh
        ahead.extend(fresh)
    return found


def show(measures: Measures) -> None:
    """Print the figures."""
    sizes = sorted(one.size for one in measures.functions)
    print(f"source {measures.source_lines:,} lines, tests {measures.test_lines:,}: {measures.tests_to_source:.2f} for one")
    print(f"functions {len(sizes):,}: median {statistics.median(sizes):g}, 95 % below {sizes[int(0.95 * len(sizes))]} lines")
    for one in sorted(measures.functions, key=lambda one: -one.size)[:5]:
        print(f"  {one.size:4} lines  {one.name}")
    print("classes with the most methods")
    for one in sorted(measures.classes, key=lambda one: -one.size)[:8]:
        print(f"  {one.size:4} methods  {one.name}")
    print(f"Any in 1,000 lines: {measures.any_in_1000:.1f}")
    for layer, (count, lines) in sorted(measures.any_by_layer.items(), key=lambda entry: -entry[1][0]):
        print(f"  {count:4} in {lines:6,} lines  {layer}")
    print(f"modules that share a name: {measures.shared_names or 'none'}")
    print(f"circles of imports: {[sorted(circle) for circle in measures.circles] or 'none'}")


if __name__ == "__main__":
    show(measure())
