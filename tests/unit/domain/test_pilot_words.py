"""Job parameters as a pilot is given them. What real pilots make of them is compared where there is one."""

import shlex

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.transform import CommandLine
from raythena.domain.transform.pilot_words import as_pilots_edit, pilot_job_parameters

CHANNEL = "EventService_EventRanges_1"
CA = f'ConfigFlags.MP.EventRangeChannel="{CHANNEL}"'
OPTIONS = "--athenaopts='EVNTtoHITS:--threads=2'"
MTES = f"--mtes-channel={CHANNEL}"


def received(text, modern):
    """The command line AthenaMP gets from a pilot that is given `text` as we rewrite it."""
    given = pilot_job_parameters(CommandLine.parse(text)).text
    return CommandLine.parse(shlex.join(shlex.split(as_pilots_edit(given, CHANNEL, modern=modern))))


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize(
    "text", ["--preExec='all:x=1'", "--preE 'all:x=1'", '"--preExec=all:x=1"', "--preExec all:x=1 --CA=False"]
)
def test_a_pre_exec_in_any_spelling_is_kept_behind_the_channel(text, modern):
    first, *others = received(text, modern).values("preExec")
    assert f'jps.AthenaMPFlags.EventRangeChannel="{CHANNEL}"' in first
    assert others == ["all:x=1"]


@pytest.mark.parametrize("modern", [False, True])
def test_several_values_of_several_arguments_are_kept_in_order(modern):
    line = received("--CA --preExec x 'y z' --athenaopts='--a=1 --b' --preExec=w", modern)
    assert line.values("preExec") == (CA, "x", "y z", "w")
    assert line.values("athenaopts") == ("--a=1 --b",)


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("switch", ["--multithreaded", "--multithreaded True", "--multithreaded=all:True", "--multith=true"])
def test_multithreaded_athena_keeps_its_options_and_gets_the_channel(switch, modern):
    line = received(f"--CA {switch} --preExec 'x=\"1\"' {OPTIONS}", modern)
    (options,) = line.values("athenaopts")
    assert options == f"EVNTtoHITS:--threads=2 --mtes {MTES}"
    assert line.values("preExec") == ('x="1"',)


def test_a_text_that_names_the_variable_is_left_alone():
    line = CommandLine.parse("--preExec 'c=\"${PILOT_EVENTRANGECHANNEL}\"'  --CA")
    assert pilot_job_parameters(line) is line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--postExec=\"say('--CA')\"", "pilot"),
        ("--CA --preExec 'from A import jobproperties as jps;jps.x=1'", "import jobproperties as jps"),
        ("--preExec 'import jobproperties as jps'", "pilot"),
        ("--CA --multithreaded --athenaopts='a:--x' --athenaopts 'a:--x' 'b:--y'", "athenaopts"),
        ("--CA --multithreaded --athenaopts='a:--x=\"1\"'", "options without quotes"),
        ("--containerImage x --maxEvents=1", "which the pilot takes away"),
        ("--preExec \"x='--preExec y'\"", "pilot"),
    ],
)
def test_what_a_pilot_would_break_is_refused(text, words):
    with pytest.raises(InvalidInput) as refusal:
        pilot_job_parameters(CommandLine.parse(text, "job: jobPars"))
    assert words in str(refusal.value)
    assert "athenamp" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "modern"),
    [
        ("--preExec='all:x=1'", False),
        ("--preExec='all:x=1'", True),
        ("--CA --multithreaded=True --athenaopts='EVNTtoHITS:--threads=2'", True),
    ],
)
def test_as_it_was_written_the_pilot_would_leave_athenamp_without_a_channel(text, modern):
    assert CHANNEL not in as_pilots_edit(text, CHANNEL, modern=modern)
