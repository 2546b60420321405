"""The command of a transform: the channel where it looks for it, and options that cannot work."""

from pathlib import Path

import pytest

from athenamp_stand_in.arguments import parse
from raythena.domain.errors import InvalidInput
from raythena.payloads.athenamp.command import check_options, environment_of, read_options, transform_command, with_channel
from raythena.runtime.payload_interface import PayloadContext

LEGACY = 'from AthenaMP.AthenaMPFlags import jobproperties as jps;jps.AthenaMPFlags.EventRangeChannel="chan"'
MODERN = 'ConfigFlags.MP.EventRangeChannel="chan"'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--a"], ["--a", "--preExec", LEGACY]),
        (["--preExec", "x", "y", "--a"], ["--preExec", LEGACY, "x", "y", "--a"]),
        (["--CA", "--a"], ["--CA", "--a", "--preExec", MODERN]),
        (["--CA=True", "--preExec=x"], ["--CA=True", "--preExec", MODERN, "x"]),
        (["--CA", "--multithreaded=True"], ["--CA", "--multithreaded=True", '--athenaopts=--mtes --mtes-channel="chan"']),
        (
            ["--athenaopts=--threads=8", "--CA", "--multithreaded=true"],
            ['--athenaopts=--threads=8 --mtes --mtes-channel="chan"', "--CA", "--multithreaded=true"],
        ),
        (["--preExec", "c='{channel}'"], ["--preExec", "c='chan'"]),
    ],
)
def test_the_channel_is_put_where_the_transform_looks_for_it(words, expected):
    assert with_channel(["Sim_tf.py", *words], "chan") == ["Sim_tf.py", *expected]


@pytest.mark.parametrize("words", [[], ["--preExec", "x"], ["--preExec=x"], ["--CA"], ["--CA", "--multithreaded=True"]])
def test_the_stand_in_finds_it_there(words):
    command = with_channel(["Sim_tf.py", "--inputEVNTFile=/etc/passwd", "--outputHITSFile=H", *words], "chan")
    assert parse(command[1:], {}).channel == "chan"


def test_the_environment_says_it_too():
    options = read_options({"command": ["t"], "environment": {"ATHENA_PROC_NUMBER": "3", "X": 1}}, "job")
    environment = environment_of(options, "chan", 8)
    assert environment["PILOT_EVENTRANGECHANNEL"] == "chan"
    assert (environment["ATHENA_PROC_NUMBER"], environment["ATHENA_CORE_NUMBER"], environment["X"]) == ("3", "8", "1")
    assert environment["OMP_NUM_THREADS"] == "1"


def test_the_job_number_of_the_start_is_filled_in():
    options = read_options({"command": ["t", "--jobNumber={job_number}", "-n{cores}"]}, "job")
    context = PayloadContext("host.1", 8, Path("s"), {}, "job", Path("l"))
    command = transform_command(options, context, 4711).argv
    assert command == ("t", "--jobNumber=4711", "-n8")


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
