"""A test that needs a program is skipped with a line that says what to install; in CI, which installs them all, it fails."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import needed_programs

ROOT = Path(__file__).parents[3]
CI = (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def nothing_here(monkeypatch):
    monkeypatch.setattr(needed_programs.shutil, "which", lambda name, path=None: None)
    monkeypatch.delenv("CI", raising=False)


def test_what_is_here_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(needed_programs.shutil, "which", lambda name, path=None: f"/bin/{name}")
    needed_programs.need("curl", "ps")
    assert needed_programs.compiler("c++") == ["/bin/g++"]
    assert not needed_programs.summary()


def test_what_is_missing_is_named_with_its_package(nothing_here):
    with pytest.raises(pytest.skip.Exception, match=re.escape("needs curl, ps (Debian: apt-get install curl procps)")):
        needed_programs.need("curl", "ps")
    assert "apt-get install bubblewrap curl e2fsprogs fish iproute2 mount procps unzip zsh" in needed_programs.summary()


def test_in_ci_it_fails(nothing_here, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs unzip"):
        needed_programs.need("unzip")


def test_a_compiler_may_come_from_the_package_index(nothing_here, monkeypatch):
    monkeypatch.setattr(needed_programs.importlib.util, "find_spec", lambda name: name)
    assert needed_programs.compiler("c") == [sys.executable, "-m", "ziglang", "cc"]


def test_without_any_compiler_the_test_is_skipped(nothing_here, monkeypatch):
    monkeypatch.setattr(needed_programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match=r"requirements/compiler\.txt"):
        needed_programs.compiler("c++")


@pytest.mark.parametrize(("program", "package"), needed_programs.PACKAGES.items())
def test_ci_installs_it(program, package):
    assert re.search(rf"^command -v {re.escape(program)} .*\b{package}\b", CI, re.MULTILINE)


def test_the_compiler_is_pinned():
    lines = (ROOT / "requirements" / "compiler.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#") and not re.fullmatch(r"ziglang==[\d.]+", line)] == []


def test_no_test_looks_for_programs_by_itself():
    """Whoever starts these programs asks for them first, so that no test fails for want of one without saying so."""
    asks = re.compile(r"\bneed\(|missing_programs\(|compiler\(|obstacle\(")
    starts = re.compile(r"[\[(\"']\s*\"?(g\+\+|gcc|cc|unzip|curl|mkfs\.ext4|mount|ip)\",")
    for path in sorted(path for folder in ("unit", "ray", "jobs") for path in (ROOT / "tests" / folder).rglob("*.py")):
        text = path.read_text()
        if starts.search(text) and path.name != Path(__file__).name:
            assert asks.search(text), path
