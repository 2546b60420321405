"""The program as a whole: help, errors, exit codes, start-up, reference."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from raythena import __version__
from raythena.cli import status as status_module
from raythena.cli.command_reference import commands, reference
from raythena.cli.exit_codes import INTERRUPTED, MEANINGS
from raythena.domain.errors import ExitCode, InternalError, InvalidInput, LedgerBusy, RaythenaError
from raythena.runtime.driver import SessionRefused
from raythena.runtime.local_calls import RemoteFailure

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "cli.md"
COMMANDS = {" ".join(path): command for path, command in commands()}


def modules_with_errors() -> list[str]:
    """Modules in which a class of errors of ours is made."""
    package = ROOT / "src" / "raythena"
    paths = [path for path in package.rglob("*.py") if "RaythenaError" in path.read_text()]
    return [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths]


def subclasses(error: type[RaythenaError]) -> list[type[RaythenaError]]:
    return [error, *(below for child in error.__subclasses__() for below in subclasses(child))]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name):
    text = COMMANDS[name].help or ""
    assert len(text.split("\n", maxsplit=1)[0]) > 20, "a first line that says what it does"
    assert re.search(r"^Examples?:\n +(\w+=\S+ )?raythena ", text, re.MULTILINE), "examples in a preformatted block"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name}"


def test_the_reference_is_current():
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_exit_code_has_a_meaning():
    assert set(MEANINGS) == {*(int(code) for code in ExitCode), INTERRUPTED}


def test_every_error_has_an_exit_code_of_its_own_kind():
    for module in modules_with_errors():
        importlib.import_module(module)
    codes = {error: error.exit_code for error in subclasses(RaythenaError)}
    assert ExitCode.OK not in codes.values()
    carriers = {SessionRefused, RemoteFailure}  # their objects have the code of the error they tell of
    internal = {error for error, code in codes.items() if code is ExitCode.INTERNAL}
    assert internal - carriers == {RaythenaError, InternalError}
    assert SessionRefused("another session has the task", ExitCode.LEDGER).exit_code is ExitCode.LEDGER


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["status", "--help"], ["config", "show", "-h"]])
def test_help(run, arguments):
    ran = run(*arguments)
    assert ran.code == 0
    assert "Usage: raythena" in ran.out
    assert "Example" in ran.out


def test_the_help_of_the_program_explains_exit_codes(run):
    out = run("--help").out
    assert all(meaning in out for meaning in MEANINGS.values())


def test_version(run):
    assert run("--version").out == f"raythena {__version__}\n"


@pytest.mark.parametrize("arguments", [["statsu"], ["status"], ["status", "--nope"], ["config", "shwo"], ["status", "a", "b"]])
def test_a_wrong_command_line_is_a_usage_error(run, arguments):
    ran = run(*arguments)
    assert ran.code == ExitCode.USAGE
    assert "Usage: raythena" in ran.err
    assert ran.out == ""


def test_a_near_miss_is_suggested(run):
    assert "status" in run("statsu").err.splitlines()[-1]


@pytest.fixture
def failing(monkeypatch, run, tmp_path):
    """Run `status` with its work replaced by raising something."""
    (tmp_path / "task").mkdir()

    def run_failing(error: BaseException):
        def fail(_: object) -> None:
            raise error

        monkeypatch.setattr(status_module, "open_task", fail)
        return run("status", tmp_path / "task")

    return run_failing


def test_a_deliberate_error_is_one_line_and_its_exit_code(failing):
    ran = failing(InvalidInput("job.yaml", "inputs[2].events", "is 0", expected="at least 1", hint="Count again"))
    assert ran.code == ExitCode.INVALID_INPUT
    assert ran.err == "error: job.yaml: inputs[2].events: is 0; expected at least 1. Count again\n"
    assert ran.out == ""


def test_further_lines_of_an_error_are_kept_and_harmless(failing):
    ran = failing(LedgerBusy("held by x\n\x1b[2Jhost y"))
    assert ran.code == ExitCode.LEDGER
    assert ran.err == "error: held by x\n  [2Jhost y\n"


@pytest.mark.parametrize("error", [KeyError("x"), InternalError("two ends of a range"), RecursionError("deep")])
def test_a_defect_shows_its_traceback_and_says_what_it_is(failing, error):
    ran = failing(error)
    assert ran.code == ExitCode.INTERNAL
    assert "Traceback" in ran.err
    assert "This is a defect" in ran.err.splitlines()[-1]


def test_ctrl_c_is_no_traceback(failing):
    ran = failing(KeyboardInterrupt())
    assert (ran.code, ran.err) == (INTERRUPTED, "error: interrupted\n")


def test_a_command_chooses_its_own_exit_code(failing):
    assert failing(typer.Exit(11)).code == 11


def test_errors_are_red_on_a_terminal_only(failing):
    assert "\x1b" not in failing(LedgerBusy("held")).err


def program(*arguments: str, **options: object) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAYTHENA_")}
    code = "from raythena.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, env=environment, **options)


def test_a_reader_that_left_is_no_error(computed):
    ran = program("report", str(computed.root), "--events", "csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ran.stdout.close()
    errors = ran.stderr.read()
    assert (ran.wait(30), errors) == (0, "")


def test_starting_imports_nothing_heavy():
    """Help and completion come at once: what costs tenths of a second to import is imported by whoever needs it."""
    heavy = {
        "ray",
        "uproot",
        "awkward",
        "numpy",
        "pydantic",
        "rich",
        "fastjet",
        "aiohttp",
        "optuna",
        "pyarrow",
        "prometheus_client",
    }
    code = f"import sys, raythena.cli.app; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_config_show_says_where_values_come_from(run):
    Path("raythena.yaml").write_text("nodes:\n  count: 7\n")
    ran = run("config", "show", "--set", "engine.max_lease=64")
    assert re.search(r"nodes\.count +7 +\S*raythena\.yaml:2", ran.out)
    assert re.search(r"engine\.max_lease +64 +command line", ran.out)
    assert re.search(r"engine\.max_merges +2 +default", ran.out)


def test_config_show_for_machines(run, monkeypatch):
    monkeypatch.setenv("RAYTHENA_NODES_COUNT", "7")
    document = json.loads(run("config", "show", "--json").out)
    assert document["nodes.count"] == {"value": 7, "origin": "environment RAYTHENA_NODES_COUNT"}


def test_config_show_refuses_what_is_wrong(run, monkeypatch):
    monkeypatch.setenv("RAYTHENA_NODES_COUNT", "seven")
    ran = run("config", "show")
    assert ran.code == ExitCode.INVALID_INPUT
    assert ran.err.startswith("error: environment RAYTHENA_NODES_COUNT: nodes.count: 'seven'")


def test_config_show_warns_of_what_sets_nothing(run, monkeypatch):
    monkeypatch.setenv("RAYTHENA_NODES_CUONT", "7")
    ran = run("config", "show")
    assert ran.code == ExitCode.OK
    assert ran.err == "warning: the variable RAYTHENA_NODES_CUONT sets nothing; did you mean RAYTHENA_NODES_COUNT?\n"
