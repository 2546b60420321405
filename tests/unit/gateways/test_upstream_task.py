"""Tasks whose outputs are to be inputs: what is taken from their directories, and every way in which it is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from raythena.domain.errors import InvalidInput, MissingInput
from raythena.domain.job import NO_MERGE, Job, MergeSpec
from raythena.gateways.file import load_job
from raythena.gateways.upstream_task import check_chain, upstream_of
from raythena.storage.ledger import Ledger
from raythena.storage.task_lease import TaskLease
from raythena.testing.simulation.samples import given_job, small_job


def write_task(directory: Path, job: Job | None = None) -> Path:
    directory.mkdir(parents=True)
    job = job or small_job((6, 5), 4, name="first")
    (directory / "job.json").write_text(json.dumps(job.to_dict()))
    return directory


def write_job(directory: Path, source: object, **more: object) -> Path:
    document = {
        "name": "second",
        "inputs": {"from": source},
        "outputs": {"events_per_file": 8, "name": "AOD.{n:03d}.root"},
        "payload": {"kind": "simulated"},
        **more,
    }
    path = directory / "second.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_inputs_are_what_the_other_task_promised(tmp_path):
    write_task(tmp_path / "first.raythena")
    job = load_job(write_job(tmp_path, "first.raythena"))
    assert [(file.lfn, file.n_events) for file in job.inputs] == [
        ("HITS.0.root", 4),
        ("HITS.1.root", 2),
        ("HITS.2.root", 4),
        ("HITS.3.root", 1),
    ]
    assert job.upstream.task == str(tmp_path / "first.raythena")
    assert job.outputs == ("AOD.001.root", "AOD.002.root")
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_a_job_file_stands_for_the_task_beside_it(tmp_path):
    write_task(tmp_path / "first.raythena")
    (tmp_path / "simulate.yaml").write_text("name: first\n")
    assert load_job(write_job(tmp_path, "simulate.yaml")).upstream.task == str(tmp_path / "first.raythena")


def test_a_job_belongs_to_the_task_it_takes_from_wherever_that_is(tmp_path):
    first = write_task(tmp_path / "first.raythena")
    before = load_job(write_job(tmp_path, "first.raythena")).fingerprint()
    first.rename(tmp_path / "moved")
    assert load_job(write_job(tmp_path, "moved")).fingerprint() == before
    write_task(tmp_path / "other", small_job((7, 4), 4, name="first"))
    assert load_job(write_job(tmp_path, "other")).fingerprint() != before


def broken_json(directory: Path) -> Path:
    write_task(directory).joinpath("job.json").write_text("{")
    return directory


def half_a_job(directory: Path) -> Path:
    write_task(directory).joinpath("job.json").write_text('{"name": "first"}')
    return directory


def without_merge(directory: Path) -> Path:
    return write_task(directory, replace(small_job(), merge=MergeSpec(NO_MERGE)))


def text_file(directory: Path) -> Path:
    directory.write_text("hello")
    return directory


REFUSED = [
    ("nothing there", lambda directory: directory, MissingInput, "does not exist"),
    ("an empty directory", lambda directory: directory.mkdir(), MissingInput, "holds no task"),
    ("a job that is no JSON", broken_json, InvalidInput, "is no job"),
    ("half a job", half_a_job, InvalidInput, "is no job"),
    ("unmerged outputs", without_merge, InvalidInput, "does not merge its outputs"),
    ("given ranges", lambda directory: write_task(directory, given_job()), InvalidInput, "handed its event ranges out"),
    ("a file that is no job file", text_file, InvalidInput, "name"),
]


@pytest.mark.parametrize(("make", "error", "word"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_a_task_of_no_use_is_refused(tmp_path, make, error, word):
    make(tmp_path / "first")
    with pytest.raises(error) as refusal:
        load_job(write_job(tmp_path, "first"))
    assert word in str(refusal.value)
    assert "inputs.from" in str(refusal.value)
    assert str(tmp_path / "first") in str(refusal.value)


def test_a_job_file_without_a_task_is_refused(tmp_path):
    (tmp_path / "simulate.yaml").write_text("name: first\n")
    with pytest.raises(MissingInput, match=r"first\.raythena: does not exist.*Start that task first"):
        load_job(write_job(tmp_path, "simulate.yaml"))


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ({"from": ""}, r"inputs\.from: is empty"),
        ({"from": 5}, r"inputs\.from: is 5"),
        ({"from": None}, r"inputs\.from: is missing"),
        ({"form": "x"}, r"inputs\.form: unknown key 'form'.*Did you mean 'from'"),
        ({"from": "x", "events": 5}, r"inputs\.events: unknown key"),
        ({"from": "https://x/y"}, r"inputs\.from: is 'https://x/y', a URL"),
        ({"from": ["x"]}, r"inputs\.from: is \['x'\]"),
        ({}, r"inputs\.from: is missing"),
        ([{"from": "x"}], r"inputs\[0\]"),
        ("x", "expected a list"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused(tmp_path, inputs, word):
    path = write_job(tmp_path, "")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "inputs": inputs}))
    with pytest.raises(InvalidInput, match=word):
        load_job(path)


def test_outputs_must_not_be_called_as_the_inputs_are(tmp_path):
    write_task(tmp_path / "first")
    with pytest.raises(InvalidInput, match="is also an input file"):
        load_job(write_job(tmp_path, "first", outputs={"events_per_file": 100, "names": ["HITS.0.root"]}))


def test_seeds_do_not_go_with_another_task(tmp_path):
    write_task(tmp_path / "first")
    with pytest.raises(InvalidInput, match="seed: does not go with inputs"):
        load_job(write_job(tmp_path, "first", seed=5))


# ---- whether the job can ever run


def second_of(tmp_path: Path) -> Job:
    return load_job(write_job(tmp_path, "first"))


def test_a_task_cannot_take_its_inputs_from_itself(tmp_path):
    write_task(tmp_path / "first")
    with pytest.raises(InvalidInput, match=r"first would take its inputs from itself"):
        check_chain(second_of(tmp_path), tmp_path / "first")


def test_nor_by_way_of_another_task(tmp_path):
    write_task(tmp_path / "first")
    write_task(tmp_path / "second", second_of(tmp_path))
    path = write_job(tmp_path, "second", outputs={"events_per_file": 100, "name": "NTUP.{n}.root"})
    third = load_job(path)
    with pytest.raises(InvalidInput, match="by way of"):
        check_chain(third, tmp_path / "first")
    assert [directory.name for directory in upstream_of(third)] == ["second", "first"]


def test_a_link_to_the_task_is_the_task(tmp_path):
    write_task(tmp_path / "first")
    (tmp_path / "alias").symlink_to(tmp_path / "first")
    with pytest.raises(InvalidInput, match="from itself"):
        check_chain(second_of(tmp_path), tmp_path / "alias")


def test_a_task_that_nobody_computes_and_that_has_nothing_is_refused(tmp_path):
    first = write_task(tmp_path / "first")
    check_chain(second_of(tmp_path), tmp_path / "second")  # its cluster may be starting
    os.utime(first / "job.json", (0, 0))
    with pytest.raises(InvalidInput, match="has no output, and nobody works on it"):
        check_chain(second_of(tmp_path), tmp_path / "second")
    lease = TaskLease(first / "coordinator.lease")
    lease.acquire("s")
    check_chain(second_of(tmp_path), tmp_path / "second")
    lease.release()
    Ledger.create(first / "ledger.sqlite", small_job((6, 5), 4, name="first")).close()
    with pytest.raises(InvalidInput, match="has no output"):
        check_chain(second_of(tmp_path), tmp_path / "second")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is one file system only")
def test_another_file_system_is_refused(tmp_path):
    write_task(tmp_path / "first")
    elsewhere = Path("/dev/shm/raythena-test-no-such-task")
    if elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("it is the same file system")
    with pytest.raises(InvalidInput, match="different file systems"):
        check_chain(second_of(tmp_path), elsewhere)


def test_a_job_that_has_begun_knows_its_inputs_when_the_other_task_is_gone(tmp_path):
    first = write_task(tmp_path / "first")
    job = second_of(tmp_path)
    own = write_task(tmp_path / "second.raythena", job.kept_in(str(tmp_path / "second.raythena")))
    first.rename(tmp_path / "away")
    path = write_job(tmp_path, "first")
    with pytest.raises(MissingInput):
        load_job(path)
    assert load_job(path, resumed=own).fingerprint() == job.fingerprint()
    assert load_job(path, resumed=tmp_path).fingerprint() == job.fingerprint()
