"""The house: pinned versions, targets, layers, type marker."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [line for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines() if not line.startswith("#")]
EXTRAS = PROJECT["project"]["optional-dependencies"]
NOT_LOCKED = ("torch",)
"""Extras that nobody gets unasked: with NVIDIA's libraries PyTorch is 5 GB."""
WANTED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(text for name, extra in EXTRAS.items() if name not in NOT_LOCKED for text in extra),
]
PURE_LAYERS = sorted(path for layer in ("domain", "engine") for path in (ROOT / "src" / "raythena" / layer).rglob("*.py"))


def pinned() -> dict[str, Version]:
    names_and_versions = [line.split("==") for line in PINS]
    return {canonicalize_name(name): Version(version) for name, version in names_and_versions}


@pytest.mark.parametrize("line", PINS)
def test_a_pin_is_a_name_and_one_version(line):
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)


def test_nothing_is_pinned_twice():
    assert len(pinned()) == len(PINS)


@pytest.mark.parametrize("text", WANTED)
def test_every_dependency_is_pinned_within_its_bounds(text):
    requirement = Requirement(text)
    version = pinned().get(canonicalize_name(requirement.name))
    assert version is not None, "run `make lock`"
    assert version in requirement.specifier


def test_every_target_promised_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("install", "demo", "test", "check", "bench", "docs", "lock", "clean"):
        assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    ("libc", "left_out"), [("glibc 2.36", 0), ("glibc 2.34", 0), ("glibc 2.33", 1), ("glibc 2.9", 1), ("musl", 1), ("", 1)]
)
def test_where_the_c_library_is_too_old_for_acts_everything_else_is_installed(tmp_path, libc, left_out):
    command = ["make", "-n", "install", f"VENV={tmp_path}", f"LIBC={libc}", "PYTHON=python3"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said.count("grep -v '^pyacts=='") == left_out
    assert said.count('test -z ""') == 1 - left_out
    assert libc in said


def test_ci_lints_and_tests_everything_once():
    """`make check` is `make lint` and a part of `make test`."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\w+)$", script.read_text(), re.MULTILINE) == ["lint", "test", "hadd", "containers", "browser"]


def test_the_package_is_typed():
    assert (ROOT / "src" / "raythena" / "py.typed").exists()


def test_the_licence_is_the_one_declared():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_changes_of_this_version_are_written_down():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changes or f"## {PROJECT['project']['version']}" in changes


@pytest.mark.parametrize("path", PURE_LAYERS, ids=lambda path: path.name)
def test_the_core_computes_paths_but_never_follows_them(path):
    """What the import contracts cannot see: `pathlib` may be used for arithmetic (`PurePath`), not for files; nor may `open`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pathlib":
            assert {alias.name for alias in node.names} <= {"PurePath", "PurePosixPath"}
        if isinstance(node, ast.Import):
            assert "pathlib" not in {alias.name for alias in node.names}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda path: path.name)
def test_a_decision_record_has_a_number_and_a_title(path):
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
    title, *_ = path.read_text().splitlines()
    assert title.startswith("# ")


def test_decision_records_have_numbers_of_their_own():
    numbers = [path.name[:4] for path in (ROOT / "docs" / "adr").glob("*.md")]
    assert len(set(numbers)) == len(numbers)
