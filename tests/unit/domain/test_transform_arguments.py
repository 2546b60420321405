"""Command lines in the forms production uses, read as argparse reads them, and changed in one place only."""

from __future__ import annotations

import argparse
import shlex
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput
from raythena.domain.transform import (
    MERGING,
    RECONSTRUCTION,
    SIMULATION,
    CommandLine,
    Kind,
    Known,
    Substep,
    Vocabulary,
    expanded,
    file_names,
    quoted,
    substeps,
    vocabulary_of,
)

ALL_KNOWN = {known.name: known for words in (SIMULATION, RECONSTRUCTION, MERGING) for known in words.arguments}

EVNT = "EVNT.30737678._000001.pool.root.1"
SIM = [
    f"--inputEVNTFile={EVNT} --maxEvents=1000 --outputHITSFile=HITS.1._000001.pool.root.1",
    f"--inputEVNTFile {EVNT} --maxEvents 1000 --outputHITSFile HITS.1.pool.root",
    f"--inputEvgenFile={EVNT} --outputHitsFile=HITS.1.pool.root --maxEvents=-1",
    f"'--inputEVNTFile={EVNT}' '--outputHITSFile=HITS.pool.root' '--maxEvents=50'",
    f'"--inputEVNTFile={EVNT}" "--outputHITSFile=HITS.pool.root"',
    "--inputEVNTFile=EVNT.1._[000001,000002,000003].pool.root.1 --outputHITSFile=HITS.2._[000011,000012].pool.root",
    "--inputEVNTFile=EVNT.1._000001.pool.root.1,EVNT.1._000002.pool.root.1 --outputHITSFile=H.pool.root",
    "--inputEVNTFile EVNT.1._000001.pool.root.1 EVNT.1._000002.pool.root.1 --outputHITSFile=H.pool.root",
    "--inputEVNTFile EVNT.a,EVNT.b EVNT.c --outputHITSFile=H.pool.root",
    "--inputEVNTFile EVNT.a EVNT.a,EVNT.b --outputHITSFile=H.pool.root",
    "--inputEVNTFile=/eos/data/my-files/EVNT-1._000001.pool.root.1 --outputHITSFile=HITS-new.pool.root",
    "--inputEVNTFile='/data/EVNT*.root' --outputHITSFile=H.root",
    "--inputEVNTFile=a.root --inputEVNTFile=b.root --outputHITSFile=H.root",
    "--inputEVNTFile=a.root --outputHITSFile=H.root --maxEvents=10 --maxEvents=20",
    "--maxEvents 'EVNTtoHITS:10' 'all:-1' --inputEVNTFile=a.root",
    "--maxEvents=first:10 --skipEvents=0 --inputEVNTFile=a.root",
    "--randomSeed=EVNTtoHITS:1234 --inputEVNTFile=a.root",
    "--randomSeed -1 --firstEvent -5 --inputEVNTFile=a.root",
    "--randomSeed -1.5 --inputEVNTFile=a.root",
    "--jobNumber=00123 --inputEVNTFile=a.root",
    "--DataRunNumber=284500 --geometryVersion=default:ATLAS-R2-2016-01-00-01_VALIDATION --inputEVNTFile=a.root",
    "--geometryVersion 'default:ATLAS-R3S-2021-03-02-00' --conditionsTag 'default:OFLCOND-MC23-SDR-RUN3-01'",
    '--conditionsTag "default:OFLCOND-MC16-SDR-14" --physicsList=FTFP_BERT_ATL_VALIDATION --truthStrategy=MC15aPlus',
    "--simulator=MC16FullG4 --postInclude 'default:PyJobTransforms/UseFrontier.py'",
    "--simulator FullG4MT_QS --preInclude 'EVNTtoHITS:Campaigns/MC23SimulationSingleIoV.py'",
    "--preInclude EVNTtoHITS:SimulationJobOptions/preInclude.BeamPipeKill.py,SimulationJobOptions/preInclude.FrozenShowers.py",
    "--preInclude 'sim:A.py,B.py' 'all:C.py' --postInclude all:D.py",
    "--preExec 'EVNTtoHITS:simFlags.SimBarcodeOffset.set_Value_and_Lock(200000)' 'EVNTtoHITS:simFlags.TRTRangeCut=30.0;x=1'",
    '--preExec "EVNTtoHITS:simFlags.CalibrationRun.set_Off();flags.Name=\\"a b\\""',
    '--postExec \'with open("ConfigSimST.pkl", "wb") as f: cfg.store(f)\' --inputEVNTFile=a.root',
    "--preExec='from AthenaCommon.AlgSequence import AlgSequence; a={\"x\":[1,2]}' --inputEVNTFile=a.root",
    "--preExec 'all:a=1' --preExec 'EVNTtoHITS:b=2' 'c=3'",
    "--preExec 'x = -1' '-1' --inputEVNTFile=a.root",
    "--preExec '' --inputEVNTFile=a.root",
    "--preExec= --inputEVNTFile=a.root",
    '--preExec "" "b" --inputEVNTFile=a.root',
    "--postExec 'print(\"it'\"'\"'s done\")' --maxEvents=1",
    "--athenaopts='--preloadlib=${ATLASMKLLIBDIR_PRELOAD}/libimf.so' --eventService=True",
    '--athenaopts="--preloadlib=${ATLASMKLLIBDIR_PRELOAD}/libimf.so --threads=4" --multithreaded=True',
    "--athenaopts 'EVNTtoHITS:--threads=8 --concurrent-events=8' 'all:--pmon=sdmonfp' --multithreaded",
    "--athenaopts '--threads=8 --nprocs=2' --maxEvents=1",
    "--eventService --multiprocess --maxEvents=10",
    "--eventService=True --multiprocess=True --athenaMPMergeTargetSize 'HITS:0' --mts ALL:-1",
    "--multiprocess --athenaMPStrategy=EVNTtoHITS:EventService --inputEVNTFile=a.root",
    "--CA --inputEVNTFile=a.root --outputHITSFile=b.root",
    "--CA 'all:True' 'EVNTtoHITS:True' --inputEVNTFile=a.root",
    "--imf False --tcmalloc=True --perfmon=none --AMITag s4162 --AMIConfig=s4162",
    "--asetup 'EVNTtoHITS:Athena,21.0.53,here' --env 'KEY=VALUE:$KEY' 'all:A=b'",
    "--steering 'RAWtoALL:in-RDO,in+RDO_TRIG' doOverlay",
    "--DBRelease='all:current' --DBRelease=\"100.0.2\"",
    "--runNumber=364250 --beamType=collisions --enableLooperKiller True --useISF=True",
    "--checkEventCount=False --ignorePatterns 'Py:FATAL.*',\"ERROR (.*)\" --maxEvents=2",
    "  --maxEvents=1\t\t--skipEvents=0 \n --inputEVNTFile=a.root  ",
    "--maxEvents=1 \\\n    --skipEvents=0 \\\n    --inputEVNTFile 'a.root'",
    "--verbose --inputEVNTFile=a.root --showSteps",
    "-c 'import os' --inputEVNTFile=a.root",
    "--outputHITSFile=${OUTPUT0} --inputEVNTFile=${IN_1} --maxEvents=${MAXEVENTS}",
    "--outputHITSFile=HITS.30737678._${SN/P}.pool.root --inputEVNTFile=${IN/L}",
    "--outputEVNT_TRFile=EVNT_TR.1.pool.root --inputEVNTFile=a.root --trackRecordType=stopped",
    "--firstEvent=1 --aNewArgument='a b' --anotherNew x y --inputEVNTFile=a.root",
    "--physicsList FTFP_BERT_ATL --aNewArgument=a --inputEVNTFile=a.root",
    "--reportName=jobReport --reportType json,text 'gpickle' --loglevel DEBUG",
    "--truthStrategy='MC15aPlus' --LucidOn=True --AFPOn False --jobNumber 5 - --maxEvents=1",
    "",
]
RECO = [
    "--inputHITSFile=HITS.1._000001.pool.root.1 --outputRDOFile=RDO.pool.root --digiSeedOffset1=1 --digiSeedOffset2=2",
    "--inputHitsFile HITS.a HITS.b --inputHighPtMinbiasHitsFile=HITS.h1,HITS.h2 --LowPtMinbiasHitsFile HITS.l1 HITS.l2",
    "--inputBSFile=data18_13TeV.00348885._lb0827._SFO-8._0002.1 --outputESDFile=ESD.root --autoConfiguration everything",
    "--preExec 'all:rec.Commissioning.set_Value_and_Lock(True);from AthenaCommon.BeamFlags import jobproperties' "
    "'RAWtoALL:from x import y' 'HITtoRDO:from Digitization.DigitizationFlags import digitizationFlags;"
    'digitizationFlags.overrideMetadata+=["SimLayout","PhysicsList"];\'',
    "--steering doRDO_TRIG --triggerConfig 'RDOtoRDOTrigger=MCRECO:DBF:TRIGGERDBMC:2233,87,314' --valid=True",
    "--conditionsTag all:OFLCOND-MC16-SDR-25 --geometryVersion=all:ATLAS-R2-2016-01-00-01 --runNumber=410470",
]
MERGE = [
    "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} --AMITag=s4162",
    "--inputHitsFile HITS.a,HITS.b --outputHits_MRGFile=M.root",
    "--inputHITSFile=HITS._[001,002,003].pool.root.1 --outputHITSFile=M.root --inputLogsFile=log._[001,002].tgz",
    "--DBRelease=current --inputHITSFile HITS.a HITS.b --outputHITS_MRGFile M.root --checkEventCount False",
]
PREFIXED = [
    ("--inputEVNT=a.root --outputHITS=b.root --max=5", SIMULATION, "inputEVNTFile outputHITSFile maxEvents"),
    ("--inputEv a.root b.root --outputHits H --skip 0 --jobN=3", SIMULATION, "inputEVNTFile outputHITSFile skipEvents jobNumber"),
    ("--preE 'a' 'b' --postI c.py --geo=G --cond 'default:C'", SIMULATION, "preExec postInclude geometryVersion conditionsTag"),
    ("--inputHITS=a --outputHITS_MRG=b", MERGING, "inputHITSFile outputHITS_MRGFile"),
    ("--eventS=True --multip", SIMULATION, "eventService multiprocess"),
]
FILES = {
    "args.txt": "--inputEVNTFile\nEVNT a.root\nEVNT.b.root\n--maxEvents=3",
    "values": "all:x = 1\ny\n",
    "outer": "@args.txt\n--skipEvents=0",
    "empty": "",
}
WITH_FILES = [
    "@args.txt --outputHITSFile=H.root",
    "--preExec @values --maxEvents=1",
    "--preExec first @values 'last one'",
    "--firstEvent=1 '@outer'",
    "--maxEvents=1 @empty",
]

COMMANDS = [(text, SIMULATION) for text in SIM] + [(text, RECONSTRUCTION) for text in RECO] + [(text, MERGING) for text in MERGE]


def test_there_are_enough_examples():
    assert len({text for text, _ in COMMANDS}) + len(PREFIXED) + len(WITH_FILES) >= 60


@cache
def transform_parser(
    vocabulary: Vocabulary, only: frozenset[str] | None = None, also: frozenset[str] = frozenset()
) -> argparse.ArgumentParser:
    """argparse as a transform sets it up: prefixes, `@file`, several values, arguments that collect."""
    parser = argparse.ArgumentParser(
        fromfile_prefix_chars="@", argument_default=argparse.SUPPRESS, add_help=False, exit_on_error=False
    )
    for known in vocabulary.arguments:
        if only is None or known.name in only:
            names = [f"-{name}" if len(name) == 1 else f"--{name}" for name in (known.name, *known.aliases)]
            action = "extend" if known.collects else "store"
            parser.add_argument(*names, dest=known.name, nargs="+" if known.needs_value else "*", action=action)
    for name in also:
        parser.add_argument(f"--{name}", dest=name, nargs="*")
    return parser


def seen_by_transform(text, vocabulary, only=None, also=frozenset()):
    return {
        name: tuple(values)
        for name, values in vars(transform_parser(vocabulary, only, also).parse_args(shlex.split(text))).items()
    }


def seen_by_us(line):
    return {argument.name: line.values(argument.name) for argument in line.arguments}


def unknown_names(line):
    known = {known.name for known in line.vocabulary.arguments}
    return frozenset({argument.name for argument in line.arguments} - known)


@pytest.mark.parametrize(("text", "vocabulary"), COMMANDS)
def test_production_commands_are_read_as_the_transform_reads_them(text, vocabulary):
    line = CommandLine.parse(text, vocabulary=vocabulary)
    assert line.text == text
    # shlex keeps the end of a line that goes on, which no shell does
    assert list(line.argv) == shlex.split(text.replace("\\\n", " "))
    assert seen_by_us(line) == seen_by_transform(text.replace("\\\n", " "), vocabulary, also=unknown_names(line))


@pytest.mark.parametrize(("text", "vocabulary"), COMMANDS)
def test_what_is_not_touched_stays_byte_for_byte(text, vocabulary):
    line = CommandLine.parse(text, vocabulary=vocabulary)
    for argument in line.arguments:
        changed = line.set(argument.name, "a new 'value'")
        assert changed.values(argument.name) == ("a new 'value'",)
        assert spellings(changed, argument.name) == spellings(line, argument.name)
        removed = line.remove(argument.name)
        assert removed.given(argument.name) == ()
        assert spellings(removed, argument.name) == spellings(line, argument.name)
    added = line.set("neverHeardOf", "x", "y z")
    assert added.text.startswith(line.text)
    assert added.values("neverHeardOf") == ("x", "y z")
    assert spellings(added, "neverHeardOf") == spellings(line, "neverHeardOf")


def spellings(line, but):
    """The bytes of all other arguments."""
    return [line.text[argument.start : argument.end] for argument in line.arguments if argument.name != but]


@pytest.mark.parametrize(("text", "vocabulary", "names"), PREFIXED)
def test_unique_prefixes_mean_the_full_name(text, vocabulary, names):
    line = CommandLine.parse(text, vocabulary=vocabulary)
    assert [argument.name for argument in line.arguments] == names.split()
    assert seen_by_us(line) == seen_by_transform(text, vocabulary, only=frozenset(names.split()))


@pytest.mark.parametrize("text", WITH_FILES)
def test_argument_files_are_read_line_by_line(text, tmp_path, monkeypatch):
    for name, content in FILES.items():
        Path(tmp_path, name).write_text(content)
    monkeypatch.chdir(tmp_path)
    line = CommandLine.parse(text, files=FILES)
    assert seen_by_us(line) == seen_by_transform(text, SIMULATION)
    assert line.text == text
    written = line.written_out()
    assert "@" not in written.text
    assert seen_by_us(written) == seen_by_us(line)
    assert seen_by_transform(written.text, SIMULATION) == seen_by_us(line)


def test_an_argument_file_is_written_out_only_when_something_in_it_changes():
    line = CommandLine.parse("@args.txt --outputHITSFile='H.root'", files=FILES)
    assert line.set("outputHITSFile", "I.root").text == "@args.txt --outputHITSFile=I.root"
    changed = line.set("maxEvents", "7")
    assert changed.text == "--inputEVNTFile 'EVNT a.root' EVNT.b.root --maxEvents=7 --outputHITSFile='H.root'"


def test_a_rewrite_keeps_the_name_the_user_wrote():
    line = CommandLine.parse("--inputEvgenFile a b --max 3")
    assert line.set("inputEVNTFile", "/abs").set("maxEvents", "4").text == "--inputEvgenFile=/abs --max=4"


def test_an_argument_may_be_asked_for_by_any_of_its_names():
    line = CommandLine.parse("--inputEvgenFile=a --maxEvents=1")
    for name in ("inputEVNTFile", "inputEvgenFile"):
        assert line.file_names(name) == ("a",)
        assert line.set(name, "b").text == "--inputEvgenFile=b --maxEvents=1"
        assert line.remove(name).text == "--maxEvents=1"
    assert CommandLine.parse("").set("inputEvgenFile", "b").values("inputEVNTFile") == ("b",)


def test_of_an_argument_given_twice_the_last_counts_and_a_rewrite_leaves_one():
    line = CommandLine.parse("--maxEvents=1 --skipEvents=0 --maxEvents=2")
    assert line.values("maxEvents") == ("2",)
    assert line.set("maxEvents", "3").text == "--skipEvents=0 --maxEvents=3"


def test_code_snippets_collect():
    line = CommandLine.parse("--preExec 'a' --maxEvents=1 --preExec 'b'")
    assert line.values("preExec") == ("a", "b")
    assert line.append("preExec", "c d").text == "--preExec 'a' --maxEvents=1 --preExec 'b' 'c d'"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--preExec='a b' --maxEvents=1", "--preExec 'a b' 'x y' --maxEvents=1"),
        ('--preExec="a\\"b"', '--preExec "a\\"b" \'x y\''),
        ("--preExec=", "--preExec '' 'x y'"),
        ("'--preExec=a b'", "--preExec 'a b' 'x y'"),
        ("--maxEvents=1", "--maxEvents=1 --preExec='x y'"),
        ("", "--preExec='x y'"),
        ("--preExec all:a   b\t ", "--preExec all:a   b 'x y'\t "),
    ],
)
def test_appending_keeps_the_spelling_of_what_is_there(before, after):
    line = CommandLine.parse(before).append("preExec", "x y")
    assert line.text == after
    assert line.values("preExec") == (*CommandLine.parse(before).values("preExec"), "x y")


def test_removing_takes_the_white_space_behind_or_before_with_it():
    line = CommandLine.parse("--maxEvents=1  --skipEvents=0 \\\n  --firstEvent=3 ")
    assert line.remove("skipEvents").text == "--maxEvents=1  --firstEvent=3 "
    assert line.remove("firstEvent").text == "--maxEvents=1  --skipEvents=0 "
    assert line.remove("maxEvents").remove("skipEvents").remove("firstEvent").text.strip() == ""
    assert line.remove("randomSeed") == line


def test_replacing_needs_something_to_replace():
    with pytest.raises(InvalidInput, match="--maxEvents: is not given"):
        CommandLine.parse("--skipEvents=0").replace("maxEvents", "1")
    assert CommandLine.parse("--maxEvents=0").replace("maxEvents", "1").text == "--maxEvents=1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("EVNT.root --maxEvents=1", "'EVNT.root' (word 1, character 1): belongs to no argument"),
        ("--maxEvents=1 2", "'2' (word 2, character 15): belongs to no argument: --maxEvents= takes one word"),
        ("--inputEVNTFile=a,b, c.root", "'c.root' (word 2, character 22)"),
        ("--maxEvents", "'--maxEvents' (word 1, character 1): has no value; expected --maxEvents=VALUE"),
        ("--maxEvents --skipEvents=0", "(word 1, character 1): has no value"),
        ("--maxEvents=1 -- x", "'--' (word 2, character 15): is no argument of a transform"),
        ("--maxEvents=1 --preExec=--", "'--preExec=--' (word 2, character 15): has a value that many versions of Python drop"),
        ("--neverHeardOf='--'", "'--neverHeardOf=--' (word 1, character 1): has a value that many versions of Python drop"),
        ("--maxEvents=1 -Eta 3", "'-Eta' (word 2"),
        ("--maxEvents=1 --3", "'--3' (word 2"),
        ("--preExec 'a b", "character 11: the quote"),
        ("@nowhere", "'@nowhere' (word 1, character 1): is an argument file whose contents nobody gave"),
        ("@loop", "is an argument file that includes itself"),
    ],
)
def test_what_no_transform_would_take_is_refused_with_its_place(text, said):
    with pytest.raises(InvalidInput) as problem:
        CommandLine.parse(text, "HPCJobs.json: jobPars", files={"loop": "@loop"})
    assert said in str(problem.value)
    assert str(problem.value).startswith("HPCJobs.json: jobPars: ")


def test_a_prefix_of_two_names_that_matter_is_refused():
    vocabulary = Vocabulary((Known("skipEvents", usual=True), Known("skipFiles", usual=True), Known("skipOther")))
    with pytest.raises(InvalidInput, match="may be --skipEvents or --skipFiles"):
        CommandLine.parse("--skip=1", vocabulary=vocabulary)


def test_a_prefix_of_names_that_do_not_matter_is_carried_along():
    line = CommandLine.parse("--post='a b' --maxEvents=1")
    assert [argument.name for argument in line.arguments] == ["post", "maxEvents"]


@pytest.mark.parametrize("value", ["--skipEvents=1", "-x", "@file"])
def test_values_that_would_be_taken_for_arguments_are_refused_unless_they_stand_alone(value):
    line = CommandLine.parse("--athenaopts=a")
    with pytest.raises(InvalidInput, match="would be taken for an argument"):
        line.set("athenaopts", "b", value)
    with pytest.raises(InvalidInput, match="would be taken for an argument"):
        line.append("athenaopts", value)
    assert line.set("athenaopts", value).values("athenaopts") == (value,)


def test_files_of_an_argument():
    line = CommandLine.parse(
        "--inputEVNTFile EVNT.1._[001,002].pool.root.1,/d/b.root b.root ,, EVNT.1._002.pool.root.1 --maxEvents=1"
    )
    assert line.file_names("inputEVNTFile") == ("EVNT.1._001.pool.root.1", "EVNT.1._002.pool.root.1", "/d/b.root", "b.root")
    assert line.file_names("outputHITSFile") == ()
    assert line.of_kind(Kind.INPUT) == ("inputEVNTFile",)


def test_bracket_lists():
    assert expanded("a._[1,02].x_[7].r") == ("a._1.x_7.r", "a._02.x_7.r")
    assert expanded("[1,2][3,4]") == ("13", "14", "23", "24")
    assert expanded("a[b]c[1-3]") == ("a[b]c[1-3]",)
    assert file_names(["a[1,2", "b[c,d]", "e[]"]) == ("a[1", "2", "b[c", "d]", "e[]")
    with pytest.raises(InvalidInput, match="1,000,000,000 files"):
        expanded("_[" + ",".join(["1"] * 1000) + "]" + ("_[" + ",".join(["1"] * 1000) + "]") * 2)


@given(st.lists(st.integers(0, 10**7).map(lambda number: f"{number:06d}"), min_size=1, unique=True))
def test_a_bracket_list_stands_for_as_many_names_as_it_has_numbers(numbers):
    stands_for = tuple(f"EVNT.1._{number}.pool.root.1" for number in numbers)
    name = f"EVNT.1._[{','.join(numbers)}].pool.root.1"
    assert file_names([name]) == stands_for
    assert file_names([f"a,{name},b"]) == ("a", *stands_for, "b")


def test_substeps_of_values():
    line = CommandLine.parse("--maxEvents 10 'EVNTtoHITS:-1' --preExec 'a,b:x=\"c:d\"' 'no_substep:x' 'y z:1'")
    assert line.substeps("maxEvents") == (Substep("first", "10"), Substep("EVNTtoHITS", "-1"))
    assert line.substeps("preExec") == (
        Substep("a", 'x="c:d"'),
        Substep("b", 'x="c:d"'),
        Substep("all", "no_substep:x"),
        Substep("all", "y z:1"),
    )
    assert substeps([""]) == (Substep("all", ""),)


@pytest.mark.parametrize(
    ("transformation", "vocabulary"),
    [
        ("Sim_tf.py", SIMULATION),
        ("AtlasG4_tf.py", SIMULATION),
        ("/cvmfs/x/bin/HITSMerge_tf.py", MERGING),
        ("Reco_tf.py", RECONSTRUCTION),
        ("Digi_tf.py", RECONSTRUCTION),
        ("Trig_reco_tf.py", RECONSTRUCTION),
        ("anything", SIMULATION),
    ],
)
def test_the_name_of_a_transform_tells_its_vocabulary(transformation, vocabulary):
    assert vocabulary_of(transformation) is vocabulary


def test_the_same_name_may_mean_another_argument_to_another_transform():
    assert CommandLine.parse("--outputHitsFile=a", vocabulary=MERGING).get("outputHITS_MRGFile") is not None
    assert CommandLine.parse("--outputHitsFile=a", vocabulary=SIMULATION).get("outputHITSFile") is not None


# ---- whatever the command line

VALUES = st.one_of(
    st.sampled_from(
        ["-1", "all:a=1;b", "EVNTtoHITS:x", "a,b", "", "${OUTPUT0}", "a._[1,2].root", "it's", 'say "x"', "- ", "--x y"]
    ),
    st.text(st.sampled_from("ab:,=[]$'\"\\ \t-;\n*?é"), max_size=12).filter(lambda value: value != "--"),
)
SAFE = VALUES.filter(lambda value: value == "-1" or not value.startswith(("-", "@")))
KNOWN = [known for known in SIMULATION.arguments if len(known.name) > 1 and known.name != "help"]


def spelled(draw, value):
    """One of the many ways to write a value for a shell."""
    ways = [quoted(value), '"' + "".join("\\" + char if char in '"\\' else char for char in value) + '"']
    if value and "\n" not in value:
        ways.append("".join("\\" + char if not char.isalnum() else char for char in value))
    if value:
        middle = draw(st.integers(0, len(value)))
        ways.append(quoted(value[:middle]) + quoted(value[middle:]))
    way = draw(st.sampled_from(ways))
    assume("\\$" not in way or "'" in way or not way.startswith('"'))
    return way


@st.composite
def arguments(draw):
    known = draw(st.sampled_from(KNOWN))
    name = "--" + draw(st.sampled_from([name for name in (known.name, *known.aliases) if len(name) > 1]))
    if draw(st.booleans()):
        return f"{name}={spelled(draw, draw(VALUES))}"
    values = draw(st.lists(SAFE, min_size=int(known.needs_value), max_size=3))
    space = draw(st.sampled_from([" ", "  ", "\t", "\n "]))
    return space.join([name, *(spelled(draw, value) for value in values)])


LINES = st.lists(arguments(), max_size=6).flatmap(
    lambda parts: st.sampled_from([" ", "  ", "\t", " \n"]).map(lambda space: space.join(parts))
)


@given(LINES)
def test_any_command_line_is_seen_as_the_transform_sees_it(text):
    line = CommandLine.parse(text)
    assert str(line) == text
    assert list(line.argv) == shlex.split(text)
    assert seen_by_us(line) == seen_by_transform(text, SIMULATION)


@given(LINES, st.sampled_from(KNOWN), st.lists(SAFE, min_size=1, max_size=3))
def test_setting_changes_one_argument_and_nothing_else(text, known, values):
    line = CommandLine.parse(text)
    changed = line.set(known.name, *values)
    assert seen_by_transform(changed.text, SIMULATION) == {**seen_by_transform(text, SIMULATION), known.name: tuple(values)}
    assert spellings(changed, known.name) == spellings(line, known.name)


@given(LINES, st.sampled_from(KNOWN), SAFE)
def test_appending_adds_to_one_argument_and_nothing_else(text, known, value):
    line = CommandLine.parse(text)
    try:
        changed = line.append(known.name, value)
    except InvalidInput:
        assert line.given(known.name)[-1].inline
        return
    before = seen_by_transform(text, SIMULATION)
    after = {**before, known.name: (*before.get(known.name, ()), value)}
    assert seen_by_transform(changed.text, SIMULATION) == after
    assert spellings(changed, known.name) == spellings(line, known.name)


@given(LINES, st.sampled_from(KNOWN))
def test_removing_takes_one_argument_and_nothing_else(text, known):
    line = CommandLine.parse(text)
    changed = line.remove(known.name)
    before = seen_by_transform(text, SIMULATION)
    assert seen_by_transform(changed.text, SIMULATION) == {name: values for name, values in before.items() if name != known.name}
    assert spellings(changed, known.name) == spellings(line, known.name)


@given(st.text(max_size=60))
def test_anything_else_is_read_or_refused_never_a_crash(text):
    try:
        line = CommandLine.parse(text)
    except InvalidInput as refusal:
        assert refusal.source == "jobPars"
    else:
        assert line.text == text
