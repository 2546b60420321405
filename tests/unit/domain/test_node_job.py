"""The job given to a node: what a payload must get, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.node_job import EMPTIED, Action, NodeFacts, check_pfn, derive_node_job
from raythena.domain.panda import parse_panda_job
from raythena.domain.panda_ranges import parse_event_ranges

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"
DOCUMENT = json.loads((FIXTURES / "merge-HPCJobs.json").read_text())["5750099001"]
NODE = NodeFacts(job_number=1, cores=64)


def panda_job(**changes):
    return parse_panda_job(FieldPath("HPCJobs.json", "", {**DOCUMENT, **changes}))


def paths(job, directory="/lustre/inputs"):
    return {lfn: f"{directory}/{lfn}" for lfn in job.in_files}


def derived(node=NODE, pfn_of=None, **changes):
    job = panda_job(**changes)
    return derive_node_job(job, pfn_of or paths(job), node, source="HPCJobs.json")


def change(node_job, name):
    (found,) = [entry for entry in node_job.changes if entry.name == name]
    return found


def test_a_real_job_becomes_the_job_of_a_node():
    node_job = derived(NodeFacts(job_number=3002, cores=64))
    assert node_job.document["jobPars"] == (
        "--inputEVNTFile=/lustre/inputs/EVNT.30737678._000001.pool.root.1 --maxEvents=40 --skipEvents=0 --firstEvent=1 "
        "--randomSeed=1234 --AMITag=s4162 --physicsList=FTFP_BERT_ATL --simulator=FullG4MT_QS "
        '--outputHITSFile=HITS.30737678._000001.pool.root.1 --conditionsTag "default:OFLCOND-MC23-SDR-RUN3-01" '
        "--jobNumber=3002 --eventService=True"
    )
    assert [node_job.document[key] for key in EMPTIED] == [""] * 5
    assert (node_job.document["coreCount"], node_job.document["eventService"]) == (64, "True")
    kept = DOCUMENT.keys() - {*EMPTIED, "jobPars", "coreCount", "eventService"}
    assert {key: node_job.document[key] for key in kept} == {key: DOCUMENT[key] for key in kept}
    assert json.loads(json.dumps(node_job.document)) == node_job.document


def test_the_argument_list_needs_no_shell():
    argv = derived().argv
    assert argv[:2] == ("Sim_tf.py", "--inputEVNTFile=/lustre/inputs/EVNT.30737678._000001.pool.root.1")
    assert argv[-4:] == ("--conditionsTag", "default:OFLCOND-MC23-SDR-RUN3-01", "--jobNumber=1", "--eventService=True")


def test_the_job_of_panda_is_not_altered():
    job = panda_job()
    derive_node_job(job, paths(job), NODE)
    assert job.document == DOCUMENT


def test_the_same_bytes_stand_in_the_argument_the_catalogue_and_the_ranges():
    node_job = derived()
    (named,) = node_job.command.file_names("inputEVNTFile")
    lfn = "EVNT.30737678._000001.pool.root.1"
    guid = DOCUMENT["GUID"].split(",")[0]
    text = json.dumps({"1": [{"eventRangeID": "1-1-1-1-1", "startEvent": 1, "lastEvent": 1, "LFN": lfn, "GUID": guid}]})
    (event_range,) = parse_event_ranges(text, "ranges", node_job.pfn_of)["1"]
    assert named == event_range.pfn == node_job.catalogue.pfn_of(event_range.guid) == f"/lustre/inputs/{lfn}"
    assert len(node_job.catalogue.entries) == 4


def test_every_input_may_be_named():
    node_job = derived(NodeFacts(1, 8, name_every_input=True))
    assert node_job.command.file_names("inputEVNTFile") == tuple(node_job.pfn_of.values())


def test_a_file_whose_guid_panda_does_not_know_is_not_in_the_catalogue():
    assert derived(GUID="NULL").catalogue.entries == ()
    guids = DOCUMENT["GUID"].split(",")
    assert len(derived(GUID=",".join([guids[0], "NULL", *guids[2:]])).catalogue.entries) == 3


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("--inputEvgenFile EVNT.a.1 EVNT.b.1 --outputHitsFile H.root", "--inputEvgenFile=/in/EVNT.a.1 --outputHitsFile H.root"),
        ("--inputEVNT=EVNT.a.1,EVNT.b.1 --outputHITS=H._[1,2].root", "--inputEVNT=/in/EVNT.a.1 --outputHITS=H._1.root"),
        ("--inputEVNTFile=EVNT.[a,b] --outputHITSFile=H", None),
        ("--inputEVNTFile=EVNT.a --outputHITSFile=H", "--inputEVNTFile=/in/EVNT.a.1 --outputHITSFile=H"),
        ("--inputEVNTFile=/else/EVNT.b.1 --outputHITSFile=H", "--inputEVNTFile=/in/EVNT.b.1 --outputHITSFile=H"),
        (
            "--inputEVNTFile='EVNT.a.1' --inputEVNTFile=\"EVNT.b.1\" --outputHITSFile=H",
            "--inputEVNTFile=/in/EVNT.b.1 --outputHITSFile=H",
        ),
        ("--inputEVNTFile=EVNT.a.1 --outputHITSFile=H.1,H.2 --outputEVNT_TRFile=T.1 T.2", None),
        (
            "--preExec 'a;b \"c\"' 'x' --inputEVNTFile=EVNT.a.1  --outputHITSFile=H --postExec=\"d 'e'\"",
            "--preExec 'a;b \"c\"' 'x' --inputEVNTFile=/in/EVNT.a.1  --outputHITSFile=H --postExec=\"d 'e'\"",
        ),
        ("--inputEVNTFile=EVNT.a.1 --outputHITSFile=H --jobNumber=77 --eventService=False", None),
    ],
)
def test_arguments_are_understood_in_every_form(parameters, expected):
    changes = {"inFiles": "EVNT.a.1,EVNT.b.1", "GUID": "NULL", "fsize": "1,2", "checksum": "NULL", "inFilePaths": "NULL"}
    try:
        command = derived(pfn_of={"EVNT.a.1": "/in/EVNT.a.1", "EVNT.b.1": "/in/EVNT.b.1"}, jobPars=parameters, **changes).command
    except InvalidInput:
        assert expected is None
        return
    if expected is None:
        assert command.text == "--inputEVNTFile=/in/EVNT.a.1 --outputHITSFile=H --jobNumber=1 --eventService=True"
    else:
        assert command.text == f"{expected} --jobNumber=1 --eventService=True"


def test_bracket_lists_of_inputs_are_matched_without_the_attempt():
    names = [f"EVNT.1._{number:06d}.pool.root.1" for number in (1, 2, 3)]
    changes = {"GUID": "NULL", "fsize": "NULL", "checksum": "NULL", "inFilePaths": "NULL", "inFiles": ",".join(names)}
    parameters = "--inputEVNTFile=EVNT.1._[000002,000003].pool.root --outputHITSFile=H"
    node_job = derived(NodeFacts(1, 1, name_every_input=True), jobPars=parameters, **changes)
    assert node_job.command.file_names("inputEVNTFile") == tuple(f"/lustre/inputs/{name}" for name in names[1:])


def test_of_several_input_arguments_the_one_with_the_job_s_files_is_meant():
    minbias = "--inputHighPtMinbiasHitsFile=minbias.1,minbias.2"
    parameters = f"--inputHITSFile=HITS.a {minbias} --outputRDOFile=R --skipEvents=first:10 --maxEvents=5"
    changes = {"GUID": "NULL", "fsize": "NULL", "checksum": "NULL", "inFilePaths": "NULL", "inFiles": "HITS.a"}
    node_job = derived(NodeFacts(1, 1, max_events=9), jobPars=parameters, transformation="Reco_tf.py", **changes)
    start = f"--inputHITSFile=/lustre/inputs/HITS.a {minbias} --outputRDOFile=R"
    assert node_job.command.text == f"{start} --skipEvents=0 --maxEvents=9 --jobNumber=1 --eventService=True"


def test_argument_files_are_written_out():
    changes = {"inFiles": "EVNT.a", "GUID": "NULL", "fsize": "NULL", "checksum": "NULL", "inFilePaths": "NULL"}
    job = panda_job(jobPars="@inputs --outputHITSFile=H", **changes)
    node_job = derive_node_job(job, {"EVNT.a": "/in/EVNT.a"}, NODE, files={"inputs": "--inputEVNTFile\nEVNT.a\n--preExec\na b"})
    assert node_job.command.text.startswith("--inputEVNTFile=/in/EVNT.a --preExec 'a b' --outputHITSFile=H ")
    assert change(node_job, "--preExec").reason == "written out of its argument file"


def test_every_change_is_told_with_its_reason():
    node_job = derived()
    assert change(node_job, "--inputEVNTFile").action is Action.CHANGED
    assert "the other 3 come with their event ranges" in change(node_job, "--inputEVNTFile").reason
    assert (change(node_job, "--jobNumber").action, change(node_job, "--jobNumber").before) == (Action.ADDED, "")
    assert change(node_job, "--conditionsTag").action is Action.UNTOUCHED
    assert change(node_job, "--conditionsTag").after == '--conditionsTag "default:OFLCOND-MC23-SDR-RUN3-01"'
    assert (change(node_job, "inFiles").action, change(node_job, "coreCount").after) == (Action.REMOVED, "64")
    for entry in node_job.changes:
        kept = entry.name in ("--maxEvents", "--skipEvents")
        assert bool(entry.reason) == (entry.action is not Action.UNTOUCHED or kept), entry


@pytest.mark.parametrize(("given", "becomes"), [(None, "40"), (7, "7"), (-1, "-1"), (40, "40")])
def test_max_events_is_the_job_s_or_what_is_asked_for_and_the_reason_is_told(given, becomes):
    node_job = derived(NodeFacts(1, 8, max_events=given))
    told = change(node_job, "--maxEvents")
    assert node_job.command.values("maxEvents") == (becomes,)
    assert told.reason.startswith("as the job says" if becomes == "40" else "asked for by max_events")
    assert told.action is (Action.UNTOUCHED if becomes == "40" else Action.CHANGED)


@pytest.mark.parametrize(
    ("word", "becomes"), [("--skipEvents=25", "--skipEvents=0"), ("--skipEvents=0", "--skipEvents=0"), ("", "")]
)
def test_ranges_are_never_shifted_by_events_to_be_skipped(word, becomes):
    lfn = panda_job().in_files[0]
    node_job = derived(jobPars=f"--inputEVNTFile={lfn} --outputHITSFile=H {word}")
    assert " ".join(part for part in node_job.command.text.split() if "skip" in part) == becomes
    if word:
        assert "count from the first event" in change(node_job, "--skipEvents").reason


def test_what_is_already_right_is_untouched():
    again = derived(jobPars=derived().command.text)
    assert {entry.action for entry in again.changes if entry.name.startswith("--")} == {Action.UNTOUCHED}
    assert again.command.text == derived().command.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"jobPars": "--inputEVNTFile=EVNT.other --outputHITSFile=H"},
            "names 'EVNT.other', which is not among the job's inFiles",
        ),
        ({"jobPars": "--outputHITSFile=H"}, "no argument may name the input files"),
        (
            {"jobPars": "--inputEVNT_TRFile=a --inputVertexPosFile=b --outputHITSFile=H"},
            "--inputEVNT_TRFile and --inputVertexPosFile",
        ),
        ({"jobPars": "--inputEVNTFile=EVNT.30737678._000001.pool.root.1"}, "no argument names an output file"),
        ({"jobPars": "--inputEVNTFile=EVNT.30737678._000001.pool.root.1 --outputHITSFile=,"}, "--outputHITSFile: names no file"),
        ({"jobPars": "--maxEvents='1"}, "HPCJobs.json: jobPars: character 13: the quote"),
        ({"jobPars": "@args"}, "HPCJobs.json: jobPars: '@args' (word 1, character 1): is an argument file"),
    ],
)
def test_a_job_no_node_could_run_is_refused(changes, said):
    with pytest.raises(InvalidInput) as problem:
        derived(**changes)
    assert said in str(problem.value)


@pytest.mark.parametrize(
    "node", [NodeFacts(0, 1), NodeFacts(2**31, 1), NodeFacts(1, 0), NodeFacts(1, 1, max_events=0), NodeFacts(1, 1, max_events=-2)]
)
def test_impossible_nodes_are_refused(node):
    with pytest.raises(InvalidInput, match=r"node\.(job_number|cores|max_events): is"):
        derived(node)


@pytest.mark.parametrize("pfn", ["/data/EVNT.1.root", "/a", "/a-b_c.d+e=f@g:h%i~j/k"])
def test_paths_that_can_stand_anywhere_are_taken(pfn):
    check_pfn(pfn, "job", "inFiles[0]")


MISREAD = [*"ab,", "", "./a", "/a,b", "/a b", "//a", "/a//b", "/a/./b", "/a/../b", "/a/", "/", "/a[1]", "/a*", "/a?b", "/a'b"]
MISREAD += ['/a"b', "/a\\b", "/a{b}", "/a\nb", "/é", "/a#b", "/a$b", "/a;b", "root://host//a"]


@pytest.mark.parametrize("pfn", MISREAD)
def test_paths_that_something_would_misread_are_refused(pfn):
    with pytest.raises(InvalidInput, match=r"inFiles\[0\]"):
        check_pfn(pfn, "job", "inFiles[0]")


def test_a_comma_in_a_path_is_named():
    job = panda_job()
    with pytest.raises(InvalidInput, match=r"HPCJobs.json: inFiles\[0\]: .* holds ','"):
        derive_node_job(job, paths(job, "/lustre/a,b"), NODE, source="HPCJobs.json")
    with pytest.raises(InvalidInput, match=r"inFiles\[1\]: the path of EVNT.30737679"):
        derive_node_job(job, {job.in_files[0]: "/a"}, NODE)


# ---- whatever else the job says

OTHERS = st.lists(
    st.sampled_from(
        [
            '--preExec \'EVNTtoHITS:a=1;b="c d"\' "all:x"',
            "--postExec=\"print('it')\"",
            '--conditionsTag  "default:OFLCOND"',
            "--athenaopts='--preloadlib=${LIB}/libimf.so --threads=4'",
            "--randomSeed -5",
            "--simulator=FullG4MT_QS",
            "--aNewArgument 'x y' z",
            "--multiprocess",
            "--CA",
            "--maxEvents=first:10",
            "--preInclude 'sim:A.py,B.py'",
            "--truthStrategy=",
        ]
    ),
    unique=True,
)
INPUT = st.sampled_from(["--inputEVNTFile={}", "--inputEvgenFile {}", "--inputEVNT='{}'", '"--inputEVNTFile={}"'])
OUTPUT = st.sampled_from(["--outputHITSFile=H._[1,2].root", "--outputHitsFile H._1.root", "--outputHITS 'H._1.root'"])


@given(OTHERS, INPUT, OUTPUT, st.sampled_from([" ", "  ", "\t", " \\\n  "]), st.randoms())
def test_whatever_else_the_job_says_is_kept_byte_for_byte(others, given_input, output, space, random):
    parts = [*others, given_input.format("EVNT.a,EVNT.b"), output]
    random.shuffle(parts)
    changes = {"inFiles": "EVNT.a,EVNT.b", "GUID": "NULL", "fsize": "NULL", "checksum": "NULL", "inFilePaths": "NULL"}
    node_job = derived(jobPars=space.join(parts), **changes)
    text = node_job.command.text
    position = 0
    for part in parts:
        if part in others:
            position = text.index(part, position) + len(part)
    assert node_job.command.file_names("inputEVNTFile") == ("/lustre/inputs/EVNT.a",)
    assert node_job.command.file_names("outputHITSFile") == ("H._1.root",)
    assert (node_job.command.values("jobNumber"), node_job.command.values("eventService")) == (("1",), ("True",))
    touched = {"--inputEVNTFile", "--outputHITSFile", "--jobNumber", "--eventService"}
    assert all(
        entry.action is Action.UNTOUCHED for entry in node_job.changes if entry.name[:2] == "--" and entry.name not in touched
    )


def test_resimulation_reads_hits():
    parameters = "--inputHITSFile=HITS.a --outputHITS_RSMFile=HITS.b --maxEvents=5"
    changes = {"GUID": "NULL", "fsize": "NULL", "checksum": "NULL", "inFilePaths": "NULL", "inFiles": "HITS.a"}
    node_job = derived(jobPars=parameters, transformation="ReSim_tf.py", **changes)
    assert node_job.command.file_names("inputHITSFile") == ("/lustre/inputs/HITS.a",)


@pytest.mark.parametrize("end", ["; rm -rf x", " | tee", " )"])
def test_what_a_shell_would_take_for_an_end_is_refused_with_its_position(end):
    parameters = f"{DOCUMENT['jobPars']}{end}"
    with pytest.raises(InvalidInput, match=rf"character {len(parameters.rstrip()) - len(end.strip()) + 1}\b"):
        derived(jobPars=parameters)
