from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from raythena.domain.admission import derived_guid
from raythena.domain.errors import InvalidInput, MissingInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.gateways import file as file_gateway
from raythena.gateways.file import DiskInputs, load_job, read_document

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"
PAYLOAD = PayloadSpec("python", {"function": "m:f"})
MERGE = MergeSpec("root")

NATIVE = """
name: native
inputs: [evnt/*.root]
outputs: {events_per_file: 10, name: "HITS.{n}.root"}
payload: {python: "m:f"}
"""


def write_root(path: Path, entries: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree("EVNT", {"EventNumber": "int64"})
        file["EVNT"].extend({"EventNumber": np.arange(entries)})
    return path


@pytest.fixture
def native(tmp_path: Path) -> Path:
    write_root(tmp_path / "evnt" / "b.root", 10)
    write_root(tmp_path / "evnt" / "a.root", 20)
    path = tmp_path / "job.yaml"
    path.write_text(NATIVE)
    return path


@pytest.fixture
def panda(tmp_path: Path) -> Path:
    """A real HPCJobs.json whose inputs stand beside it and are what it says."""
    document = json.loads((FIXTURES / "merge-HPCJobs.json").read_text())
    (job,) = document.values()
    contents = [f"input {n}".encode() * 100 for n in range(4)]
    del job["inFilePaths"]
    job["fsize"] = ",".join(str(len(data)) for data in contents)
    job["checksum"] = ",".join(f"ad:{zlib.adler32(data):08x}" for data in contents)
    for lfn, data in zip(job["inFiles"].split(","), contents, strict=True):
        (tmp_path / lfn).write_bytes(data)
    path = tmp_path / "HPCJobs.json"
    path.write_text(json.dumps(document))
    return path


def load_panda(path: Path, **options: Any) -> Job:
    return load_job(path, payload=PAYLOAD, merge=MERGE, **options)


def change(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    for job in document.values():
        job.update(changes)
    path.write_text(json.dumps(document))


# ---- native


def test_a_native_job_is_loaded_and_its_events_counted(native):
    job = load_job(native)
    assert [(file.lfn, file.n_events) for file in job.inputs] == [("a.root", 20), ("b.root", 10)]
    assert job.inputs[0].pfn == str(native.parent / "evnt" / "a.root")
    size_bytes = (native.parent / "evnt" / "a.root").stat().st_size
    assert (job.inputs[0].size_bytes, job.inputs[0].guid) == (size_bytes, derived_guid("a.root", size_bytes))
    assert len(job.outputs) == 3


def test_the_same_job_as_json_is_the_same_job(native):
    path = native.with_name("job.json")
    document = {
        "name": "native",
        "inputs": ["evnt/*.root"],
        "outputs": {"events_per_file": 10, "name": "HITS.{n}.root"},
        "payload": {"python": "m:f"},
    }
    path.write_text(json.dumps(document))
    assert load_job(path) == load_job(native)


def test_a_job_is_the_same_wherever_the_command_runs(native, monkeypatch):
    expected = load_job(native)
    monkeypatch.chdir(native.parent / "evnt")
    assert load_job(Path("../job.yaml")) == expected


def test_links_are_not_resolved(native, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(native.parent / "evnt")
    native.write_text(NATIVE.replace("evnt/", "link/"))
    assert load_job(native).inputs[0].pfn == str(link / "a.root")


def test_a_pattern_takes_files_only(native):
    (native.parent / "evnt" / "c.root").mkdir()
    assert len(load_job(native).inputs) == 2


def test_two_stars_reach_below(native):
    write_root(native.parent / "evnt" / "deep" / "er" / "z.root", 5)
    native.write_text(NATIVE.replace("evnt/*.root", "evnt/**/*.root"))
    assert [file.lfn for file in load_job(native).inputs] == ["a.root", "b.root", "z.root"]


def test_payload_and_merger_can_be_replaced(native):
    job = load_job(native, payload=PAYLOAD, merge=MergeSpec("concat"))
    assert (job.payload, job.merge) == (PAYLOAD, MergeSpec("concat"))


def test_what_only_panda_has_is_refused_for_native_jobs(native):
    with pytest.raises(InvalidInput, match="no use for panda_id"):
        load_job(native, panda_id="12")


def test_an_input_that_is_no_root_file_needs_its_events(native):
    (native.parent / "evnt" / "c.root").write_bytes(b"not root")
    with pytest.raises(InvalidInput) as refusal:
        load_job(native)
    assert (refusal.value.source, refusal.value.field) == (str(native), "inputs[0]")
    assert "c.root: is no ROOT file" in refusal.value.problem
    assert "`events:`" in refusal.value.hint


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.mkdir(), "is no regular file"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "does not exist"),
        (lambda path: None, "does not exist"),
    ],
)
def test_an_input_that_is_no_readable_file_is_refused(native, make, problem):
    make(native.parent / "x.dat")
    native.write_text(NATIVE.replace("evnt/*.root", "{path: x.dat, events: 4}"))
    with pytest.raises(InvalidInput) as refusal:
        load_job(native)
    assert (refusal.value.source, refusal.value.field) == (str(native), "inputs[0].path")
    assert f"{native.parent}/x.dat: {problem}" in refusal.value.problem


def test_the_directory_that_is_missing_is_named(native):
    native.write_text(NATIVE.replace("evnt/*.root", "{path: no/such/x.dat, events: 4}"))
    with pytest.raises(InvalidInput) as refusal:
        load_job(native)
    assert refusal.value.hint == f"The directory {native.parent}/no does not exist"


def test_an_input_nobody_may_read_is_refused(native, monkeypatch):
    monkeypatch.setattr(file_gateway.os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(InvalidInput, match="may not be read"):
        load_job(native)


# ---- PanDA


def test_a_panda_job_is_loaded_with_its_inputs_beside_it(panda):
    job = load_panda(panda, verify_checksums=True)
    assert job.inputs[0].pfn == str(panda.parent / "EVNT.30737678._000001.pool.root.1")
    assert (job.job_id, job.n_events, len(job.outputs)) == ("5750099001", 40, 2)
    assert (job.payload, job.merge) == (PAYLOAD, MERGE)


def test_a_bare_specification_is_loaded_as_well(panda):
    expected = load_panda(panda)
    (job,) = json.loads(panda.read_text()).values()
    panda.write_text(json.dumps(job))
    assert load_panda(panda) == expected


def test_inputs_may_be_elsewhere(panda, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in tmp_path.glob("EVNT*"):
        shutil.move(path, elsewhere / path.name)
    assert load_panda(panda, input_directory=elsewhere).inputs[3].pfn.startswith(f"{elsewhere}/EVNT")
    with pytest.raises(MissingInput, match=r"5750099001\.inFiles\[0\]: .*does not exist"):
        load_panda(panda)


def test_a_missing_guid_is_derived(panda):
    change(panda, GUID="NULL,NULL,NULL,3621762D-0193-56D7-B7D6-3EB9FA87628F")
    inputs = load_panda(panda).inputs
    assert inputs[0].guid == derived_guid(inputs[0].lfn, inputs[0].size_bytes or 0)
    assert inputs[3].guid == "3621762D-0193-56D7-B7D6-3EB9FA87628F"


@pytest.mark.parametrize("missing", ["payload", "merge"])
def test_a_panda_job_needs_to_be_told_what_it_does_not_say(panda, missing):
    change(panda, esmergeSpec={"transPath": "", "jobParameters": "", "nEventsPerOutputFile": 20})
    given: dict[str, Any] = {"payload": PAYLOAD, "merge": MERGE}
    with pytest.raises(InvalidInput, match=f"{missing}: a PanDA job does not say it"):
        load_job(panda, **given | {missing: None})


def test_a_panda_job_is_merged_by_the_transform_it_names(panda):
    options = {
        "transformation": "HITSMerge_tf.py",
        "parameters": "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} --AMITag=s4162",
        "release": {"home_package": "Athena/23.0.53", "platform": "x86_64-centos7-gcc11-opt"},
    }
    assert load_job(panda, payload=PAYLOAD).merge == MergeSpec("transform", options)
    container = {"container": {"engine": "alrb", "image": "centos7"}, "parameters": "--other"}
    given = MergeSpec("transform", container)
    assert load_job(panda, payload=PAYLOAD, merge=given).merge == MergeSpec("transform", {**options, **container})


def test_a_size_that_differs_is_refused(panda):
    (panda.parent / "EVNT.30737680._000003.pool.root.1").write_bytes(b"short")
    with pytest.raises(InvalidInput) as refusal:
        load_panda(panda)
    assert refusal.value.field == "5750099001.fsize[2]"
    assert "has 5 bytes" in refusal.value.problem


def test_altered_contents_are_found_when_asked_for(panda):
    path = panda.parent / "EVNT.30737680._000003.pool.root.1"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    load_panda(panda)
    with pytest.raises(InvalidInput) as refusal:
        load_panda(panda, verify_checksums=True)
    assert refusal.value.field == "5750099001.checksum[2]"
    assert "damaged" in refusal.value.hint


def test_files_without_a_checksum_are_not_read_for_it(panda, monkeypatch):
    change(panda, checksum="md5:1,md5:2,NULL,NULL")
    monkeypatch.setattr(file_gateway, "_adler32", lambda path: pytest.fail("read"))
    load_panda(panda, verify_checksums=True)


def test_one_of_several_jobs_is_chosen(panda):
    document = json.loads(panda.read_text())
    document["17"] = document["5750099001"] | {"PandaID": 17, "taskID": 99}
    panda.write_text(json.dumps(document))
    assert load_panda(panda, panda_id="17").task_id == "99"
    with pytest.raises(InvalidInput, match="holds 2 jobs; expected one of 17, 5750099001"):
        load_panda(panda)
    with pytest.raises(InvalidInput, match="18: no such job; expected one of 17, 5750099001"):
        load_panda(panda, panda_id="18")


# ---- the document itself


@pytest.mark.parametrize(
    ("name", "contents", "field", "problem"),
    [
        ("job.yaml", b"", "", "is empty"),
        ("job.yaml", b" \n\n", "", "is empty"),
        ("job.yaml", b"\xef\xbb\xbf", "", "is empty"),
        ("job.yaml", b"name: x\n# \xff\xfe\n", "line 2", "not UTF-8"),
        ("job.yaml", "name: x".encode("utf-16"), "", "a binary file"),
        ("job.root", b"root\x00\x00\xf3\x02" * 100, "", "a binary file"),
        ("job.json", b'{"name": "x"', "line 1", "ends in the middle"),
        ("job.json", b"name: x", "line 1", "not valid JSON"),
        ("job", b'{"a": 1, "a": 2}', "a", "given twice"),
        ("job.yaml", b"a: 1\na: 2", "line 2", "given twice"),
        ("job.yaml", b"hello", "", "is 'hello'"),
        ("job.yaml", b"null", "", "is null"),
        ("HPCJobs.json", b"{}", "name", "is missing"),
        ("HPCJobs.json", b'{"12": null}', "12", "is null"),
    ],
)
def test_a_bad_document_is_refused(tmp_path, name, contents, field, problem):
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(InvalidInput) as refusal:
        load_job(path)
    assert (refusal.value.source, refusal.value.field) == (str(path), field)
    assert problem in refusal.value.problem


def test_a_document_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, problem in (
        (tmp_path, "is a directory"),
        (tmp_path / "pipe.yaml", "no regular file"),
        (tmp_path / "no", "does not exist"),
        (tmp_path / ("x" * 300), "cannot be looked at"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            load_job(path)
        assert refusal.value.source == str(path)
        assert problem in refusal.value.problem


def test_absurdly_large_documents_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with pytest.raises(InvalidInput, match="has 314,572,800 bytes; expected at most 268,435,456"):
        load_job(path)
    yaml = tmp_path / "huge.yaml"
    yaml.write_bytes(b"# long\n" * 1_300_000)
    with pytest.raises(InvalidInput, match="expected at most 8,388,608"):
        load_job(yaml)


@pytest.mark.parametrize("name", ["job.yaml", "job.yml", "job.json", "job", "JOB.JSON", "job.txt"])
def test_json_is_read_under_any_name(tmp_path, name):
    path = tmp_path / name
    path.write_text('\n {"name": "x", "list": [1, 2]}')
    assert read_document(path) == {"name": "x", "list": [1, 2]}


def test_checksums_are_computed_only_when_wanted(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 3_000_000)
    assert DiskInputs(checksums=True).facts(str(path), with_checksum=True).adler32 == zlib.adler32(b"x" * 3_000_000)
    assert DiskInputs(checksums=True).facts(str(path), with_checksum=False).adler32 is None
    assert DiskInputs().facts(str(path), with_checksum=True).adler32 is None
