"""Hostile and broken job documents, each with the refusal it must meet.

Native documents are changes to `GOOD`, PanDA's are changes to a real `HPCJobs.json`. A case says the field, a piece of the
problem and a piece of what was expected (or the hint), so that the table shows what a user will read.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from raythena.domain.admission import FileFacts
from raythena.domain.document import FieldPath, read_yaml
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.jobfile import parse_job_document
from raythena.domain.panda import parse_panda_jobs, to_job

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"

GOOD = """
name: good
inputs:
  - {path: evnt/a.root, events: 500}
  - {path: evnt/b.root, events: 500}
outputs: {events_per_file: 500, names: [H1.root, H2.root]}
payload: {python: "my_module:process"}
"""
_PYTHON = 'python: "my_module:process"'
_INPUTS = """inputs:
  - {path: evnt/a.root, events: 500}
  - {path: evnt/b.root, events: 500}
"""


def refusal_of_native(text: str, disk: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refusal:
        parse_job_document(read_yaml(text, "job.yaml"), "job.yaml", "/jobs", disk)
    return refusal.value


def check(refusal: InvalidInput, source: str, field: str, problem: str, remedy: str) -> None:
    assert refusal.source == source
    assert refusal.field == field
    assert problem in refusal.problem
    assert remedy in f"{refusal.expected} {refusal.hint}"
    assert refusal.exit_code is ExitCode.INVALID_INPUT
    text = str(refusal)
    assert text.isprintable(), "a hostile document must not write to the terminal what it likes"
    assert len(text) < 1000


def test_the_good_document_is_good(disk):
    assert parse_job_document(read_yaml(GOOD, "job.yaml"), "job.yaml", "/jobs", disk).n_events == 1000


NATIVE = [
    # the document as a whole
    ("- a\n- b", None, "", "is ['a', 'b']", "name, inputs, events"),
    ("just text", None, "", "'just text'", "a mapping"),
    ("name: good\n", "", "name", "is missing", "a value"),
    ("name: good", "name: ", "name", "is missing", "a value"),
    ("name: good", "name: 12", "name", "is 12", "Put it in quotes"),
    ("name: good", "name: ../good", "name", "no acceptable file name", "A directory does not belong"),
    ("name: good", "name: good\ninput: []", "input", "unknown key 'input'", "Did you mean 'inputs'?"),
    ("name: good", "name: good\nname: bad", "line 3", "'name' is given twice", "every key once"),
    # inputs
    ("inputs:", "inputs: []\nignored:", "ignored", "unknown key", "one of"),
    ("path: evnt/a.root", "path: evnt/missing.root", "inputs[0].path", "/jobs/evnt/missing.root: does not exist", "a file"),
    ("path: evnt/a.root", "path: ''", "inputs[0].path", "is empty", "the path of a file"),
    ("path: evnt/a.root", "path: root://server//a.root", "inputs[0].path", "a URL", "all nodes see"),
    ("path: evnt/a.root", 'path: "a\\0b"', "inputs[0].path", "control characters", "the path of a file"),
    ("path: evnt/a.root", 'path: "a\\nb"', "inputs[0].path", "control characters", "the path of a file"),
    ("path: evnt/a.root", f"path: {'x/' * 2100}a", "inputs[0].path", "a path of 4201 bytes", "at most 4096"),
    ("path: evnt/a.root", "path: [evnt/a.root]", "inputs[0].path", "is ['evnt/a.root']", "the path of a file"),
    ("path: evnt/a.root", "file: evnt/a.root", "inputs[0].file", "unknown key 'file'", "one of path, glob"),
    ("path: evnt/a.root", "lfn: a", "inputs[0]", "neither path nor glob", "one of the two"),
    ("path: evnt/a.root", "path: a, glob: b", "inputs[0]", "both path and glob", "one of the two"),
    ("path: evnt/a.root", "glob: none/*.root", "inputs[0].glob", "no file matches", "at least one file"),
    ("path: evnt/a.root", "glob: evnt/a*, lfn: x", "inputs[0].lfn", "the same for all files", "path instead of glob"),
    ("- {path: evnt/a.root, events: 500}", "- 17", "inputs[0]", "is 17", "a mapping with the keys path"),
    ("- {path: evnt/a.root, events: 500}", "- none/*", "inputs[0]", "no file matches 'none/*'", "at least one"),
    ("path: evnt/b.root", "path: evnt/a.root", "inputs[1].path", "'a.root' is listed twice", "another than inputs[0].path"),
    ("path: evnt/b.root", "path: evnt/../evnt//./a.root, lfn: other", "inputs[1].path", "'/jobs/evnt/a.root'", "inputs[0].path"),
    ("path: evnt/b.root", "path: /data/a.root", "inputs[1].path", "'a.root' is listed twice", "another"),
    ("path: evnt/a.root", "path: odd name.dat", "inputs[0].lfn", "'odd name.dat'", "a file name of letters"),
    ("path: evnt/a.root", "path: evnt/a.root, lfn: '$(reboot)'", "inputs[0].lfn", "'$(reboot)'", "a file name of letters"),
    ("path: evnt/a.root", "path: evnt/a.root, lfn: -rf", "inputs[0].lfn", "'-rf'", "beginning with a letter"),
    ("path: evnt/a.root", "path: evnt/a.root, lfn: ..", "inputs[0].lfn", "'..'", "beginning with a letter"),
    ("path: evnt/a.root", f"path: evnt/a.root, lfn: {'x' * 300}", "inputs[0].lfn", "300 characters", "at most 240"),
    ("path: evnt/a.root", "path: evnt/a.root, guid: 12", "inputs[0].guid", "is 12", "a GUID"),
    ("path: evnt/a.root", "path: evnt/a.root, guid: abc", "inputs[0].guid", "'abc'", "a GUID such as"),
    ("path: evnt/a.root", "path: evnt/a.root, size_bytes: 999", "inputs[0].size_bytes", "has 1,000 bytes", "999 bytes"),
    ("path: evnt/a.root", "path: evnt/a.root, checksum: 'md5:1'", "inputs[0].checksum", "'md5:1'", "ad:0a1b2c3d"),
    ("path: evnt/a.root", "path: evnt/a.root, checksum: 'ad:1'", "inputs[0].checksum", "adler32 11e60398", "damaged"),
    # numbers of events
    ("500}\n  - {path: evnt/b", "0}\n  - {path: evnt/b", "inputs[0].events", "is 0", "at least 1"),
    ("500}\n  - {path: evnt/b", "-5}\n  - {path: evnt/b", "inputs[0].events", "is -5", "at least 1"),
    ("500}\n  - {path: evnt/b", "1.5}\n  - {path: evnt/b", "inputs[0].events", "is 1.5", "a whole number"),
    ("500}\n  - {path: evnt/b", "yes}\n  - {path: evnt/b", "inputs[0].events", "is true", "a whole number"),
    ("500}\n  - {path: evnt/b", "'500'}\n  - {path: evnt/b", "inputs[0].events", "is '500'", "a whole number"),
    ("500}\n  - {path: evnt/b", "4000000001}\n  - {path: evnt/b", "inputs[0].events", "4000000001", "at most 4,000,000,000"),
    ("500}\n  - {path: evnt/b", "4000000000}\n  - {path: evnt/b", "inputs", "4,000,000,500 events", "Split the job"),
    # outputs
    ("events_per_file: 500, ", "", "outputs.events_per_file", "is missing", "a value"),
    ("events_per_file: 500", "events_per_file: 0", "outputs.events_per_file", "is 0", "at least 1"),
    ("events_per_file: 500", "events_per_fle: 500", "outputs.events_per_fle", "unknown key", "Did you mean 'events_per_file'?"),
    (
        "[H1.root, H2.root]",
        "[H1.root]",
        "outputs.names",
        "lists 1 output file, but 1,000 events of 2 input files fill 2",
        "2 output",
    ),
    ("[H1.root, H2.root]", "[H1, H2, H3]", "outputs.names", "lists 3 output files", "2 output files"),
    ("[H1.root, H2.root]", "[H1, H1]", "outputs.names[1]", "'H1' is listed twice", "another than outputs.names[0]"),
    ("[H1.root, H2.root]", "[H1, a.root]", "outputs.names[1]", "'a.root' is also an input file", "another name"),
    ("[H1.root, H2.root]", "[H1, ../H2]", "outputs.names[1]", "'../H2'", "A directory does not belong"),
    ("[H1.root, H2.root]", "[H1, 'H2;rm -rf ~']", "outputs.names[1]", "'H2;rm -rf ~'", "a file name of letters"),
    ("[H1.root, H2.root]", "[]", "outputs.names", "is empty", "at least 1"),
    ("[H1.root, H2.root]", "H1.root", "outputs.names", "is 'H1.root'", "a list"),
    ("names: [H1.root, H2.root]", "name: H.root", "outputs.name", "'H.root'", "HITS.{n:06d}.root"),
    ("names: [H1.root, H2.root]", "name: '{n}.{n}'", "outputs.name", "'{n}.{n}'", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{m}'", "outputs.name", "'{m}'", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{n.__class__}'", "outputs.name", "__class__", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{n:{n}}'", "outputs.name", "'{n:{n}}'", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{n:0999999999d}'", "outputs.name", "0999999999d", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{n!r}'", "outputs.name", "'{n!r}'", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '{n'", "outputs.name", "'{n'", "one number in it"),
    ("names: [H1.root, H2.root]", "name: '../{n}'", "outputs.name", "'../1'", "A directory does not belong"),
    ("names: [H1.root, H2.root]", "name: '{n}', names: [a, b]", "outputs", "both name and names", "one of the two"),
    # payload and merge
    ('python: "my_module:process"', "python: my_module", "payload.python", "'my_module'", "module:function"),
    ('python: "my_module:process"', "python: 'os:system(1)'", "payload.python", "'os:system(1)'", "module:function"),
    (
        'python: "my_module:process"',
        "python: 'm:f', process: [x]",
        "payload",
        "python and process",
        "one of python, process, kind",
    ),
    ('python: "my_module:process"', "options: {}", "payload", "none of python, process, kind", "one of"),
    ('python: "my_module:process"', "pyton: 'm:f'", "payload.pyton", "unknown key", "Did you mean 'python'?"),
    ('python: "my_module:process"', "process: ./simulate", "payload.process", "is './simulate'", "a list"),
    ('python: "my_module:process"', "process: []", "payload.process", "is empty", "at least 1"),
    ('python: "my_module:process"', "process: [x, 3]", "payload.process[1]", "is 3", "Put numbers in quotes"),
    ('python: "my_module:process"', "process: [x], options: {}", "payload.options", "does not go with process", "environment"),
    ('python: "my_module:process"', "process: [x], environment: {'A=B': c}", "payload.environment", "A=B", "variables"),
    ('python: "my_module:process"', "kind: k, options: [1]", "payload.options", "is [1]", "a mapping"),
    ('python: "my_module:process"', "kind: k, options: {a: {b: .nan}}", "payload.options.a.b", "is nan", "a number"),
    (
        'python: "my_module:process"',
        "kind: k, options: {a: 2024-01-01}",
        "payload.options.a",
        "datetime.date",
        "Put it in quotes",
    ),
    ('python: "my_module:process"', "kind: k, options: {1: x}", "payload.options", "has the key 1", "Put it in quotes"),
    ('python: "my_module:process"', "kind: '../k'", "payload.kind", "'../k'", "the name of a plug-in"),
    ("name: good", "name: good\nmerge: [root]", "merge", "is ['root']", "a mapping with the keys python"),
    ("name: good", "name: good\nmerge: {python: 'm:f', kind: root}", "merge", "python and kind", "one of python, kind"),
    ("name: good", "name: good\nmerge: {kind: root, path: [x]}", "merge.path", "does not go with kind", "only kind, options"),
    ("name: good", "name: good\ncores_per_node: 0", "cores_per_node", "is 0", "at least 1 and at most 4,096"),
    ("name: good", "name: good\ncores_per_node: many", "cores_per_node", "is 'many'", "a whole number"),
    # workers
    (_PYTHON, f"{_PYTHON}, events_per_range: 0", "payload.events_per_range", "is 0", "at least 1 and at most 1,000"),
    (_PYTHON, f"{_PYTHON}, events_per_range: 1001", "payload.events_per_range", "is 1001", "at most 1,000"),
    (_PYTHON, f"{_PYTHON}, events_per_range: few", "payload.events_per_range", "is 'few'", "a whole number"),
    (_PYTHON, f"{_PYTHON}, events_per_ranges: 5", "payload.events_per_ranges", "unknown key", "Did you mean 'events_per_range'?"),
    (_PYTHON, f"{_PYTHON}, cores_per_worker: 0", "payload.cores_per_worker", "is 0", "at least 1 and at most 4,096"),
    (_PYTHON, f"{_PYTHON}, cores_per_worker: 2.5", "payload.cores_per_worker", "is 2.5", "a whole number"),
    (_PYTHON, f"{_PYTHON}, ranges_in_flight: 2", "payload.ranges_in_flight", "does not go with python", "only python, setup"),
    (_PYTHON, "process: [x], ranges_in_flight: -1", "payload.ranges_in_flight", "is -1", "at least 1 and at most 4,096"),
    (_PYTHON, "process: [x], ranges_in_flight: true", "payload.ranges_in_flight", "is true", "a whole number"),
    (_PYTHON, "kind: athenamp, cores_per_worker: 2", "payload.cores_per_worker", "does not go with kind", "only kind, options"),
    (_PYTHON, "kind: pilot, events_per_range: 2", "payload.events_per_range", "does not go with kind", "only kind, options"),
    # jobs without input files
    ("name: good", "name: good\nevents: 5", "", "has both inputs and events", "Keep one of the two"),
    (_INPUTS, "", "", "has neither inputs nor events", "how many to make"),
    (_INPUTS, "events: null\n", "", "has neither inputs nor events", "one of inputs, events"),
    (_INPUTS, "events: 0\n", "events", "is 0", "at least 1 and at most 900,000,000"),
    (_INPUTS, "events: 900000001\n", "events", "is 900000001", "at most 900,000,000"),
    (_INPUTS, "events: lots\n", "events", "is 'lots'", "a whole number"),
    (_INPUTS, "events: 1000\nfirst_event: 0\n", "first_event", "is 0", "at least 1 and at most 1,000,000,000,000"),
    (_INPUTS, "events: 1000\nseed: -1\n", "seed", "is -1", "at least 0"),
    (_INPUTS, "events: 1000\nseed: 9007199254740993\n", "seed", "is 9007199254740993", "at most 9,007,199,254,740,992"),
    (_INPUTS, "events: 1500\n", "outputs.names", "but 1,500 events fill 3", "3 output files"),
    ("name: good", "name: good\nseed: 1", "seed", "does not go with inputs", "events instead of inputs"),
    ("name: good", "name: good\nfirst_event: 2", "first_event", "does not go with inputs", "events instead of inputs"),
]


@pytest.mark.parametrize("case", NATIVE, ids=[f"{case[2]}-{case[3][:30]}" for case in NATIVE])
def test_a_bad_native_document_is_refused(disk, case):
    old, new, field, problem, remedy = case
    text = old if new is None else GOOD.replace(old, new, 1)
    assert text != GOOD, "the case changes nothing"
    check(refusal_of_native(text, disk), "job.yaml", field, problem, remedy)


def test_absurdly_many_outputs_are_refused_without_being_listed(disk):
    text = GOOD.replace("500}\n  - {path: evnt/b", "3000000000}\n  - {path: evnt/b").replace("per_file: 500", "per_file: 2")
    refusal = refusal_of_native(text, disk)
    check(refusal, "job.yaml", "outputs.events_per_file", "1,500,000,250 output files", "at most 1,000,000")


def test_two_inputs_with_one_guid_are_refused(disk):
    guid = "guid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    text = GOOD.replace("a.root,", f"a.root, {guid},").replace("b.root,", f"b.root, {guid.replace('1b4e', '1B4E')},")
    check(refusal_of_native(text, disk), "job.yaml", "inputs[1].guid", "is listed twice", "another than inputs[0].guid")


def test_a_file_that_cannot_be_counted_is_put_down_to_its_entry(disk):
    def uncountable(pfn: str, tree: str | None) -> int:
        raise InvalidInput(pfn, "tree", "has no trees", expected="one")

    disk.count_events = uncountable
    refusal = refusal_of_native(GOOD.replace(", events: 500", "", 1), disk)
    check(refusal, "job.yaml", "inputs[0].path", "/jobs/evnt/a.root: tree: has no trees", "one")


# ---- PanDA

PANDA_ID = "5750099001"


def panda_document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIXTURES / "merge-HPCJobs.json").read_text())
    return document


def run_panda(document: Any) -> Job:
    jobs = parse_panda_jobs(document, "HPCJobs.json")
    (key,) = jobs
    place = FieldPath("HPCJobs.json", key, jobs[key].document)
    return to_job(jobs[key], PayloadSpec("python"), MergeSpec("root"), place=place)


def four(pattern: str) -> str:
    return ",".join(pattern.format(n) for n in range(1, 5))


MISSING = object()

PANDA = [
    ({"PandaID": MISSING}, "PandaID", "is missing", "a value"),
    ({"PandaID": None}, "PandaID", "is null", "a whole number"),
    ({"PandaID": "x"}, "PandaID", "is 'x'", "a whole number"),
    ({"PandaID": 0}, "PandaID", "is 0", "at least 1"),
    ({"PandaID": 17}, "PandaID", "is 17", "5750099001, the key it stands under"),
    ({"PandaID": True}, "PandaID", "is true", "a whole number"),
    ({"taskID": [1]}, "taskID", "is [1]", "a whole number"),
    ({"taskID": -4}, "taskID", "is -4", "at least 0"),
    ({"StatusCode": 20}, "StatusCode", "is 20", "PanDA had no job to give"),
    ({"inFiles": MISSING}, "inFiles", "missing or empty", "at least one file name"),
    ({"inFiles": "NULL"}, "inFiles", "missing or empty", "at least one file name"),
    ({"inFiles": 5}, "inFiles", "is 5", "text joined by commas"),
    ({"inFiles": four("EVNT_{}.root") + ","}, "inFiles[4]", "is empty", "a file name of letters"),
    ({"inFiles": "../../etc/passwd,b,c,d"}, "inFiles[0]", "'../../etc/passwd'", "A directory does not belong"),
    ({"inFiles": "a,b\nc,d,e"}, "inFiles[1]", "control characters", "a file name of letters"),
    ({"inFiles": "a,b,c\0,d"}, "inFiles", "'c\\x00'", "text without NUL"),
    ({"inFiles": "a,b,--output=/etc/passwd,d"}, "inFiles[2]", "'--output=/etc/passwd'", "beginning with a letter"),
    ({"inFiles": "a,b,c,`reboot`"}, "inFiles[3]", "'`reboot`'", "a file name of letters"),
    ({"inFiles": "a,b,c,b"}, "inFiles[3]", "'b' is listed twice", "another than 5750099001.inFiles[1]"),
    ({"inFiles": "a,b,c"}, "GUID", "has 4 elements, but inFiles has 3", "one element per file"),
    ({"outFiles": ""}, "outFiles", "missing or empty", "at least one file name"),
    ({"outFiles": "x|y,b,c"}, "outFiles[0]", "'x|y'", "a file name of letters"),
    (
        {"outFiles": "a,a,log.30737678._5750099001.job.log.tgz"},
        "outFiles[1]",
        "'a' is listed twice",
        "another than 5750099001.outFiles[0]",
    ),
    (
        {"outFiles": "a,b,c", "scopeOut": MISSING},
        "outFiles",
        "lists 3 output files, but 40 events of 4 input files fill 2",
        "2 output files",
    ),
    (
        {"outFiles": "EVNT.30737678._000001.pool.root.1,b,log.30737678._5750099001.job.log.tgz"},
        "outFiles[0]",
        "'EVNT.30737678._000001.pool.root.1' is also an input file",
        "another name",
    ),
    ({"outFiles": "a,b"}, "realDatasets", "has 3 elements, but outFiles has 2", "one element per file"),
    ({"logFile": "log/../x"}, "logFile", "'log/../x'", "A directory does not belong"),
    ({"GUID": "E704048D-E740-5A06-B086-C58344500B35,x,y,z"}, "GUID[1]", "'x'", "a GUID such as"),
    (
        {"GUID": ",".join(["E704048D-E740-5A06-B086-C58344500B35"] * 4)},
        "GUID[1]",
        "listed twice",
        "another than 5750099001.GUID[0]",
    ),
    ({"fsize": "1,2"}, "fsize", "has 2 elements, but inFiles has 4", "one element per file"),
    ({"fsize": "1,2,3,-4"}, "fsize", "'1,2,3,-4'", "sizes in bytes"),
    ({"fsize": "1,2,3,big"}, "fsize", "is 'big'", "a whole number"),
    ({"checksum": "ad:1,ad:2,ad:3,ad:hello"}, "checksum[3]", "'ad:hello'", "an adler32 checksum"),
    ({"scopeIn": "mc23"}, "scopeIn", "has 1 elements, but inFiles has 4", "one element per file"),
    ({"scopeOut": "a,b,c,d,e"}, "scopeOut", "has 5 elements, but outFiles has 2 outputs", "one element per output"),
    ({"realDatasets": "x"}, "realDatasets", "has 1 elements, but outFiles has 3", "one element per file"),
    ({"inFilePaths": "/a,/b"}, "inFilePaths", "has 2 elements, but inFiles has 4", "one element per file"),
    ({"inFilePaths": "a,b,c,d"}, "inFilePaths[0]", "is 'a'", "an absolute path"),
    ({"inFilePaths": "/a,/b,/c,/x/../b"}, "inFilePaths[3]", "'/b' is listed twice", "inFilePaths[1]"),
    ({"inFilePaths": "/a,/b,/c,root://x//d"}, "inFilePaths[3]", "is 'root://x//d'", "an absolute path"),
    ({"inFilePaths": MISSING}, "inFilePaths", "is missing", "the directory they are in"),
    ({"nEventsPerInputFile": MISSING}, "nEventsPerInputFile", "is missing", "gets its event ranges from PanDA"),
    ({"nEventsPerInputFile": 0}, "nEventsPerInputFile", "is 0", "at least 1"),
    ({"nEventsPerInputFile": "-10"}, "nEventsPerInputFile", "is -10", "at least 1"),
    ({"nEventsPerInputFile": 1.5}, "nEventsPerInputFile", "is 1.5", "a whole number"),
    ({"nEventsPerInputFile": 5_000_000_000}, "nEventsPerInputFile", "5000000000", "at most 4,000,000,000"),
    ({"nEventsPerInputFile": 3_999_999_999}, "inFiles", "15,999,999,996 events", "Split the job"),
    ({"esmergeSpec": MISSING}, "esmergeSpec.nEventsPerOutputFile", "is missing", "events per output file"),
    ({"esmergeSpec": "HITSMerge_tf.py"}, "esmergeSpec", "is 'HITSMerge_tf.py'", "a mapping"),
    ({"esmergeSpec": {"nEventsPerOutputFile": 0}}, "esmergeSpec.nEventsPerOutputFile", "is 0", "at least 1"),
    ({"esmergeSpec": {"nEventsPerOutputFile": 7}}, "outFiles", "lists 2 output files", "8 output files"),
    ({"eventService": "perhaps"}, "eventService", "is 'perhaps'", "True or False"),
    ({"onSiteMerging": 7}, "onSiteMerging", "is 7", "True or False"),
    ({"coreCount": -1}, "coreCount", "is -1", "at least 0"),
    ({"transformation": {"a": 1}}, "transformation", "is {'a': 1}", "text"),
    ({"coreCount": "x", "taskID": "y"}, "taskID", "is 'y'", "Also wrong: coreCount"),
    ({"somethingNew": {"deep": float("inf")}}, "somethingNew.deep", "is inf", "a number"),
]


@pytest.mark.parametrize(("changes", "field", "problem", "remedy"), PANDA, ids=[f"{case[1]}-{case[2][:30]}" for case in PANDA])
def test_a_bad_panda_job_is_refused(changes, field, problem, remedy):
    document = copy.deepcopy(panda_document())
    for key, value in changes.items():
        if value is MISSING:
            del document[PANDA_ID][key]
        else:
            document[PANDA_ID][key] = value
    with pytest.raises(InvalidInput) as refusal:
        run_panda(document)
    check(refusal.value, "HPCJobs.json", f"{PANDA_ID}.{field}", problem, remedy)


@pytest.mark.parametrize("document", [{}, [], None, "x", {"12x": {}}, {"jobs": []}])
def test_what_is_no_panda_document_is_refused(document):
    with pytest.raises(InvalidInput, match="PanDA jobs") as refusal:
        parse_panda_jobs(document, "HPCJobs.json")
    assert refusal.value.source == "HPCJobs.json"


@pytest.mark.parametrize("inner", [None, [], "x", 5])
def test_a_panda_job_that_is_no_mapping_is_refused(inner):
    with pytest.raises(InvalidInput, match="a job specification"):
        parse_panda_jobs({"12": inner}, "HPCJobs.json")


def test_the_table_is_long_enough():
    assert len(NATIVE) + len(PANDA) >= 100


def test_a_size_that_differs_is_put_down_to_its_element(disk):
    from functools import partial

    from raythena.domain.admission import confirmed
    from raythena.domain.panda import input_place

    document = panda_document()
    job = run_panda(document)
    disk.files = {file.pfn: FileFacts(2063) for file in job.inputs}
    place = FieldPath("HPCJobs.json", PANDA_ID, document[PANDA_ID])
    with pytest.raises(InvalidInput) as refusal:
        confirmed(job.inputs[2], disk, partial(input_place, place, 2))
    check(refusal.value, "HPCJobs.json", f"{PANDA_ID}.fsize[2]", "has 2,063 bytes", "2,064 bytes")
