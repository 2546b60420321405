"""`raythena doctor` without a trial job: what it prints, what it ends with, and whom it asks."""

import ast
import inspect
import json
import os
import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raythena.cli.app import app
from raythena.cli.settings import SETTINGS
from raythena.cli.site_examination import batch_facts
from raythena.domain import site_checks
from raythena.domain.site_checks import CHECKS

FAKE_SSH = """#!/bin/sh
# ssh to another machine, which is this one: drops its options and the name of the machine
while [ "${1#-}" != "$1" ]; do shift 2; done
[ "$1" = away ] && { echo "ssh: connect to host away port 22: No route to host" >&2; exit 255; }
shift
exec "$@"
"""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("RAY_", "SLURM_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A directory on PATH for stand-ins."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, text: str) -> None:
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)

    return put


def doctor(*options: str | Path):
    return CliRunner().invoke(app, ["doctor", *map(str, options)])


def rows(done) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["check"], row["node"]): row for row in json.loads(done.stdout)}


def test_a_sound_machine(tmp_path):
    done = doctor("--quick", "--shared", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    found = rows(done)
    assert {check for check, _ in found} == {check.name for check in CHECKS if check.cheap}
    assert not [row for row in found.values() if row["verdict"] == "failure"]
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_in_the_way_is_told_with_what_to_do(tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://someone:secret@127.0.0.1:{closed.getsockname()[1]}")
        done = doctor("--quick", "--shared", tmp_path)
    assert done.exit_code == 13
    assert "no_proxy" in done.stdout
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shared", "/nowhere"], "no directory"),
        (["--host", "-oProxyCommand=reboot"], "no name of a machine"),
        (["--host", ""], "no name of a machine"),
        (["--set", "launch.on=moon"], "no launcher"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(options, words):
    done = doctor("--quick", *options)
    assert done.exit_code == 3, done.output
    assert words in done.output


def test_machines_over_ssh(tmp_path, programs):
    programs("ssh", FAKE_SSH)
    done = doctor("--quick", "--shared", tmp_path, "--json", "--host", "localhost", "--host", "127.0.0.1", "--host", "away")
    assert done.exit_code == 13, done.output
    found = rows(done)
    assert "No route to host" in found["nodes answer", "away"]["found"]
    assert found["versions", "all nodes"]["verdict"] == "ok"


def test_the_limits_of_the_partition_are_asked_of_slurm(programs):
    programs("scontrol", '#!/bin/sh\necho "PartitionName=main Default=YES MaxNodes=3 MaxTime=02:00:00 State=UP"\n')
    facts = batch_facts({"SLURM_JOB_PARTITION": "main"}, 4)
    assert (facts.max_nodes, facts.max_time_s, facts.wanted_nodes, facts.problem) == (3, 7200.0, 4, "")
    programs("scontrol", "#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1\n")
    assert "Unable to contact" in batch_facts({"SLURM_JOB_PARTITION": "main"}, 4).problem


def test_where_there_is_no_slurm_nobody_is_asked(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert batch_facts({}, 1).system == ""


def test_what_is_advised_is_there():
    """Every setting, and every command of ours, that the words of a check name."""
    tree = ast.parse(inspect.getsource(site_checks))
    words = " ".join(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    groups = "|".join({name.partition(".")[0] for name in SETTINGS})
    settings = set(re.findall(rf"\b(?:{groups})\.[a-z_]+", words))
    assert len(settings) >= 5
    assert settings <= SETTINGS.keys()
    commands = set(re.findall(r"\braythena ([a-z]+)\b(?= -|\))", words))
    assert commands
    assert commands <= {command.name for command in app.registered_commands}
