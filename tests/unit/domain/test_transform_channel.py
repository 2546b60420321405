"""Where the name of the channel goes in a transform's arguments."""

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.transform import ChannelPlace, CommandLine, channel_place, with_channel

CA = 'ConfigFlags.MP.EventRangeChannel="c"'
LEGACY = 'from AthenaMP.AthenaMPFlags import jobproperties as jps;jps.AthenaMPFlags.EventRangeChannel="c"'
MTES = '--mtes --mtes-channel="c"'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("--maxEvents=1", ChannelPlace.JOB_PROPERTY),
        ("--CA=False --multithreaded", ChannelPlace.JOB_PROPERTY),
        ("--CA", ChannelPlace.CA_FLAG),
        ("--CA all:True", ChannelPlace.CA_FLAG),
        ("--CA --multithreaded=all:False", ChannelPlace.CA_FLAG),
        *(
            (f"--CA=True --multithreaded{how}", ChannelPlace.ATHENA_OPTION)
            for how in ("", "=True", " True", "=all:True", " true")
        ),
        ("--CA --multith", ChannelPlace.ATHENA_OPTION),
    ],
)
def test_what_carries_it(text, place):
    assert channel_place(CommandLine.parse(text)) is place


@pytest.mark.parametrize("text", ["--CA=perhaps", "--CA EVNTtoHITS:True a2r:False", "--CA --multithreaded=3"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(text):
    with pytest.raises(InvalidInput, match="the same for all steps"):
        channel_place(CommandLine.parse(text))


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("--maxEvents=1", "preExec", (LEGACY,)),
        ("--preExec x y --maxEvents=1", "preExec", (LEGACY, "x", "y")),
        ("--CA --preExec='all:x=1' --preExec y", "preExec", (CA, "all:x=1", "y")),
        ("--CA --multithreaded", "athenaopts", (MTES,)),
        ("--CA --multithreaded --athenaopts='EVNTtoHITS:--threads=2'", "athenaopts", (f"EVNTtoHITS:--threads=2 {MTES}",)),
        ("--CA --multithreaded --athenaopts=--a --athenaopts=--b", "athenaopts", (f"--b {MTES}",)),
        ("--CA --multithreaded --athenaopts 'a:--x' 'b:--y'", "athenaopts", (f"a:--x {MTES}", f"b:--y {MTES}")),
    ],
)
def test_it_has_effect_and_what_was_given_keeps_its(text, name, values):
    line = CommandLine.parse(text)
    changed = with_channel(line, "c")
    assert changed.values(name) == values
    untouched = [argument.values for argument in line.arguments if argument.name != name]
    assert [argument.values for argument in changed.arguments if argument.name != name] == untouched
