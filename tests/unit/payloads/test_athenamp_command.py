"""The command of a transform: the channel where it looks for it, and options that cannot work."""

from pathlib import Path

import pytest

from athenamp_stand_in.arguments import parse
from raythena.domain.errors import InvalidInput
from raythena.payloads.athenamp.command import check_options, environment_of, read_options, transform_command
from raythena.runtime.payload_interface import PayloadContext

MODERN = 'ConfigFlags.MP.EventRangeChannel="chan"'
MULTITHREADED = (["--multithreaded"], ["--multithreaded=True"], ["--multithreaded", "True"], ["--multithreaded=all:True"])


def argv_of(*words):
    options = read_options({"command": list(words)}, "job")
    return transform_command(options, PayloadContext("host.1", 8, Path("s"), {}, "job", Path("l")), 1).argv("chan")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preExec", "c='{channel}'"], ["--preExec", "c='chan'"]),
        (["-x", "{channel}"], ["-x", "chan"]),
        (["--CA", "--preExec=x"], ["--CA", "--preExec", MODERN, "x"]),
    ],
)
def test_the_channel_is_put_where_the_command_says_or_where_the_transform_looks(words, expected):
    assert argv_of("env", "A=1", "Sim_tf.py", *words) == ["env", "A=1", "Sim_tf.py", *expected]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--preExec", "x"],
        ["--preExec=x"],
        ["--preExec=all:x=1"],
        ["--CA"],
        *(["--CA", *switch] for switch in MULTITHREADED),
        *(["--CA", *switch, "--athenaopts=EVNTtoHITS:--threads=2"] for switch in MULTITHREADED),
        ["--CA", "--multithreaded", "--athenaopts=--a", "--athenaopts=--b"],
        ["--CA", "--multithreaded", "--athenaop=--a=1 --b=2"],
    ],
)
def test_the_stand_in_finds_it_there(words):
    command = argv_of("Sim_tf.py", "--inputEVNTFile=/etc/passwd", "--outputHITSFile=H", *words)
    assert parse(command[1:], {}).channel == "chan"


@pytest.mark.parametrize("words", [["surplus", "--CA"], ["--CA=maybe"], ["--CA", "--multithreaded=first:True", "--b=1", "-x"]])
def test_a_command_that_cannot_be_understood_is_refused_before_anything_starts(words):
    words = ["Sim_tf.py", "--inputEVNTFile=/f", *words] if words[0] == "surplus" else ["Sim_tf.py", *words]
    with pytest.raises(InvalidInput) as refusal:
        check_options({"command": words}, "job.yaml")
    assert "payload.options.command" in str(refusal.value)


def test_the_environment_says_it_too():
    options = read_options({"command": ["t"], "environment": {"ATHENA_PROC_NUMBER": "3", "X": 1}}, "job")
    environment = environment_of(options, "chan", 8)
    assert environment["PILOT_EVENTRANGECHANNEL"] == "chan"
    assert (environment["ATHENA_PROC_NUMBER"], environment["ATHENA_CORE_NUMBER"], environment["X"]) == ("3", "8", "1")
    assert environment["OMP_NUM_THREADS"] == "1"


def test_the_job_number_of_the_start_is_filled_in():
    options = read_options({"command": ["t", "--jobNumber={job_number}", "--cores={cores}"]}, "job")
    context = PayloadContext("host.1", 8, Path("s"), {}, "job", Path("l"))
    assert transform_command(options, context, 4711).argv("chan")[:3] == ["t", "--jobNumber=4711", "--cores=8"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"command": []}, "command"),
        ({"command": [""]}, "command"),
        ({"command": "Sim_tf.py --eventService=True"}, "command"),
        ({"command": ["t"], "flush": "no"}, "flush"),
        ({"command": ["t"], "max_events": 5}, "max_events"),
        ({"max_events": 0}, "max_events"),
        ({"max_events": True}, "max_events"),
        ({"command": ["t"], "name_every_input": 1}, "name_every_input"),
        ({"command": ["t"], "container": {"engine": "docker"}}, "container.engine"),
        ({"command": ["t"], "environment": {"X=": "1"}}, "environment.X="),
        ({"command": ["t"], "yampl_path": "/no/such/place"}, "yampl_path"),
        ({"comand": ["t"]}, "comand"),
    ],
)
def test_options_that_cannot_work_are_refused(options, field):
    with pytest.raises(InvalidInput) as refusal:
        check_options(options, "job.yaml")
    assert refusal.value.field == f"payload.options.{field}"
