"""What AthenaMP receives from a real pilot, by the pilot's own code, for made-up jobs: what was meant, or the job was refused."""

import argparse
import json
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pilot_edit import CHANNEL
from pilot_kit import fetch_pilot

from raythena.domain.errors import InvalidInput
from raythena.domain.transform import CommandLine
from raythena.domain.transform.pilot_words import as_pilots_edit, pilot_job_parameters
from raythena.payloads.pilot.release import find_release

JOBS = 300
_LEGACY = "from AthenaMP.AthenaMPFlags import jobproperties as jps;"
_SET = re.compile(r'(jps\.AthenaMPFlags|ConfigFlags\.MP)\.EventRangeChannel="([^"]*)"')
_MTES = re.compile(r'--mtes --mtes-channel="?([^" ]+)"?')


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The directory of a release."""
    return find_release(fetch_pilot(), None, "", tmp_path_factory.mktemp("release")).program.parent


def edited(release, texts):
    """The words of each text after the pilot has had it; None where bash refuses them. The first is PILOT_EVENTRANGECHANNEL."""
    program = Path(__file__).with_name("pilot_edit.py")
    argv = [sys.executable, str(program), str(release)]
    run = subprocess.run(argv, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=250)
    return json.loads(run.stdout)


def shell_words(text):
    """The words a shell makes of a text."""
    script = f"f() {{ printf '%s\\0' \"$@\"; }}; f {text}"
    run = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return run.stdout.split("\0")[:-1]


# ---- what a transform understands, told with argparse, as transforms do


def understood(words):
    """The values that have effect."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for name in ("preExec", "postExec"):
        parser.add_argument(f"--{name}", nargs="+", action="extend", default=[])
    for name in ("athenaopts", "preInclude", "conditionsTag"):
        parser.add_argument(f"--{name}", nargs="+", default=[])
    for name in ("CA", "multithreaded"):
        parser.add_argument(f"--{name}", nargs="*")
    for name in ("inputEVNTFile", "outputHITSFile", "maxEvents", "jobNumber", "physicsList", "runNumber"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--eventService", nargs="?", const="True")
    found, others = parser.parse_known_args(words)
    values = {**vars(found), "others": others}
    for switch in ("CA", "multithreaded"):
        told = values[switch]
        values[switch] = told is not None and (not told or told[0].rpartition(":")[2].lower() == "true")
    return values


def without_channel(values, variable):
    """The same values without the channel, and the channel AthenaMP would use."""
    values, channel = dict(values), None
    kept = []
    for text in values["preExec"]:
        found = _SET.search(text)
        own = found and not _SET.sub("", text.removeprefix(_LEGACY)).strip(";")
        if found and (found[1] == "ConfigFlags.MP") == values["CA"] and not (values["CA"] and values["multithreaded"]):
            channel = channel or found[2]
        if not own:
            kept.append(_SET.sub("", text).replace("jps;;", "jps;") if found else text)
    values["preExec"] = kept
    if values["CA"] and values["multithreaded"]:
        found = [_MTES.search(text) for text in values["athenaopts"]]
        channel = found[0][1] if found and all(found) else None
        channel = variable if channel == "$PILOT_EVENTRANGECHANNEL" else channel
    values["athenaopts"] = [text for text in (_MTES.sub("", text).strip() for text in values["athenaopts"]) if text]
    return values, channel


# ---- made-up jobs


def one_of(dice, *choices):
    return dice.choice(choices)


def spelled(dice, name, value):
    """An argument in one of the ways a shell and argparse allow."""
    quote = one_of(dice, shlex.quote, shlex.quote, in_double_quotes)
    if dice.random() < 0.5:
        return f"--{name}={quote(value)}" if dice.random() < 0.7 else quote(f"--{name}={value}")
    return f"--{name}{one_of(dice, ' ', '  ')}{quote(value)}"


def in_double_quotes(value):
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


EXECS = (
    "x=1",
    "all:x=1",
    "EVNTtoHITS:flags.Exec.x = 'a b'",
    'from A import B;B.c="d e"',
    "simFlags.TightMuonStepping=True",
    "flags.Sim.x=[1,2]",
    f"{_LEGACY}jps.AthenaMPFlags.Strategy='x'",
    "from AthenaMP.AthenaMPFlags import jobproperties as jps",
    "x='--preExec y'",
    "print('a;b')",
    'x = "it\'s"',
    "say('--CA')",
)
OPTIONS = ("--threads=2", "EVNTtoHITS:--threads=2", "EVNTtoHITS:--threads=2 --nprocs=1", "all:-l DEBUG", 'x:--y="z"', "$OPTS")


def made_up(dice):
    """The text of a job's parameters."""
    words = [spelled(dice, "inputEVNTFile", "/data/EVNT.1.root"), spelled(dice, "outputHITSFile", "HITS.1.root")]
    words += [spelled(dice, "maxEvents", one_of(dice, "10", "-1")), "--eventService=True"]
    for _ in range(one_of(dice, 0, 0, 1, 1, 2)):
        value = dice.choice(EXECS)
        if dice.random() < 0.3:
            words.append(f"--preExec {shlex.quote(value)} {shlex.quote(dice.choice(EXECS))}")
        else:
            words.append(spelled(dice, one_of(dice, "preExec", "preExec", "preE"), value))
    for _ in range(one_of(dice, 0, 0, 1, 1, 2)):
        name = one_of(dice, "athenaopts", "athenaopts", "athenao")
        words.append(f"--{name}={one_of(dice, shlex.quote, in_double_quotes)(dice.choice(OPTIONS))}")
    if dice.random() < 0.2:
        words.append("--athenaopts 'EVNTtoHITS:--threads=2 --a' 'a2r:--threads=3 --b'")
    words += one_of(dice, [], ["--CA"], ["--CA"], ["--CA=True"], ["--CA all:True"], ["--CA=False"])
    words += one_of(dice, [], [], ["--multithreaded"], ["--multithreaded=True"], ["--multithreaded True"], ["--multith=all:True"])
    words += one_of(dice, [], [spelled(dice, "postExec", dice.choice(EXECS))])
    words += one_of(dice, [], [spelled(dice, "conditionsTag", "default:OFLCOND-MC23-SDR-RUN3-01")], ["--unknown 'a b'"])
    dice.shuffle(words)
    return one_of(dice, " ", " ", "  ").join(words)


def cases():
    dice = random.Random(4711)
    found = [
        "--preExec='all:x=1'",
        "--CA --multithreaded=True --athenaopts='EVNTtoHITS:--threads=2'",
        "--CA --multithreaded=True --preExec x",
        "--CA --multithreaded",
        "--CA --athenaopts='--a=1 --b' --preExec=x --preExec=y",
    ]
    return found + [made_up(dice) for _ in range(JOBS - len(found))]


def normal(text):
    """What a pilot is given; None for a job that is refused."""
    try:
        return pilot_job_parameters(CommandLine.parse(text)).text
    except InvalidInput:
        return None


@pytest.mark.timeout(280)
def test_what_athenamp_receives_is_what_was_meant_or_the_job_was_refused(release):
    texts = cases()
    served = {text: given for text in texts if (given := normal(text)) is not None}
    received = dict(zip(served, edited(release, list(served.values())), strict=True))
    wrong = []
    for text, words in received.items():
        meant, _ = without_channel(understood(shell_words(text)), "")
        told, channel = without_channel(understood(words[1:]), words[0]) if words else ({}, None)
        if (told, channel) != (meant, CHANNEL):
            wrong.append((text, served[text], words))
    assert wrong == []
    assert len(served) > 0.5 * len(texts), f"only {len(served)} of {len(texts)} jobs are served"


@pytest.mark.timeout(280)
def test_without_being_rewritten_many_would_be_left_without_a_channel(release):
    """That this test can fail: the pilot alone goes wrong on jobs that are served."""
    texts = [text for text in cases() if normal(text) is not None]
    channels = []
    for words in edited(release, texts):
        channels.append(without_channel(understood(words[1:]), words[0])[1] if words else None)
    assert channels.count(None) > 0.2 * len(texts)


@pytest.mark.timeout(280)
def test_our_account_of_the_pilots_editing_is_the_pilots(release):
    modern = "mtes-channel" in (release / "pilot" / "eventservice" / "esprocess" / "esprocess.py").read_text()
    texts = [given for text in cases() if (given := normal(text)) is not None]
    for text, words in zip(texts, edited(release, texts), strict=True):
        assert shlex.split(as_pilots_edit(text, CHANNEL, modern=modern)) == words[1:], text
