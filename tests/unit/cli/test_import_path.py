"""Nothing is imported from where a command was started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raythena.cli.import_path import leave_current_directory

HERE, HOME = "/work/here", "/opt/raythena/src"


def left(path, environ=None, directory=HERE):
    path, environ = list(path), dict(environ or {})
    leave_current_directory(path, environ, directory, HOME)
    return path, environ


@pytest.mark.parametrize("first", ["", HERE])
def test_what_python_puts_first_is_taken_away(first):
    assert left([first, "/usr/lib/python", HOME]) == (["/usr/lib/python", HOME], {})


@pytest.mark.parametrize("told", ["", ".", HERE, f"{HERE}/", "/opt/a/..:.:/opt/b"])
def test_what_pythonpath_says_of_the_current_directory_is_taken_away(told):
    path, environ = left(["/opt/bin", *(entry or HERE for entry in told.split(":")), "/usr/lib"], {"PYTHONPATH": told})
    assert HERE not in {os.path.normpath(os.path.join(HERE, entry)) for entry in path}  # noqa: PTH118
    assert HERE not in environ["PYTHONPATH"].split(":")
    assert "" not in environ["PYTHONPATH"].split(":") or environ["PYTHONPATH"] == ""


def test_other_places_stay_and_mean_the_same_everywhere():
    assert left(["/opt/bin", f"{HERE}/lib", "/opt/x"], {"PYTHONPATH": "lib:/opt/x"}) == (
        ["/opt/bin", f"{HERE}/lib", "/opt/x"],
        {"PYTHONPATH": f"{HERE}/lib:/opt/x"},
    )


def test_an_installation_may_lie_in_the_current_directory():
    """A site directory is nobody's accident."""
    assert left(["/opt/bin", HERE]) == (["/opt/bin", HERE], {})
    assert left(["", HOME], {"PYTHONPATH": "."}, directory=HOME) == (["", HOME], {"PYTHONPATH": HOME})


HOSTILE = ("numpy", "secrets", "typer", "yaml", "pydantic", "rich", "json", "raythena")


@pytest.mark.parametrize("pythonpath", [None, "", ":", "."])
def test_modules_of_the_user_are_not_ours(tmp_path, pythonpath):
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user')\n")
    code = "import sys; sys.path.remove(''); import raythena.cli; sys.path.insert(0, ''); raythena.cli.main(['config', 'show'])"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ |= {} if pythonpath is None else {"PYTHONPATH": pythonpath}
    argv = [sys.executable, "-c", code]
    found = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False)
    if pythonpath in {None, ""}:
        assert found.returncode == 0, found.stderr
    program = [os.path.join(os.path.dirname(sys.executable), "raythena"), "config", "show"]  # noqa: PTH118, PTH120
    (tmp_path / "json.py").unlink()
    (tmp_path / "raythena.py").unlink()  # before a line of ours runs Python has chosen already
    found = subprocess.run(program, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert found.returncode == 0, found.stderr
    assert "nodes.count" in found.stdout
