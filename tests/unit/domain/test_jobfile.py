from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.admission import FileFacts, canonical_path, derived_guid
from raythena.domain.document import FieldPath, read_yaml
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.job_document import JobDocument
from raythena.domain.jobfile import parse_job_document
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeLayout
from raythena.domain.seeds import event_seed
from raythena.domain.upstream import UpstreamTask
from raythena.domain.worker_shape import WorkerShape

SIMPLE = """
name: simple
inputs: [evnt/a.root]
outputs: {events_per_file: 200, name: "HITS.{n:06d}.root"}
payload: {python: "my_module:process"}
"""

DOCS = Path(__file__).parents[3] / "docs" / "job-file.md"


def parse(text: str, disk: Any) -> Job:
    return parse_job_document(read_yaml(text, "job.yaml"), "job.yaml", "/jobs", disk)


def test_a_small_job_is_read(disk):
    job = parse(SIMPLE, disk)
    (file,) = job.inputs
    assert (file.lfn, file.pfn, file.n_events, file.size_bytes) == ("a.root", "/jobs/evnt/a.root", 500, 1000)
    assert job.outputs == ("HITS.000001.root", "HITS.000002.root", "HITS.000003.root")
    assert job.payload.options == {"function": "my_module:process", "path": ["/jobs"]}
    assert job.merge == MergeSpec("root")
    assert job.cores_per_node is None
    assert job.source["outputs"]["events_per_file"] == 200


def test_a_job_survives_json(disk):
    job = parse(SIMPLE, disk)
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_a_pattern_is_expanded_in_sorted_order_and_every_file_counted(disk):
    job = parse(SIMPLE.replace("evnt/a.root", '"evnt/*.root"'), disk)
    assert [file.lfn for file in job.inputs] == ["a.root", "b.root", "c.root"]
    assert [path for path, _ in disk.asked] == [file.pfn for file in job.inputs]


def test_a_bracket_in_the_directory_of_the_job_file_is_no_pattern(disk):
    disk.files = {"/jobs[1]/evnt/a.root": FileFacts(1)}
    job = parse_job_document(read_yaml(SIMPLE.replace("a.root", "*.root"), "j"), "j", "/jobs[1]", disk)
    assert job.inputs[0].pfn == "/jobs[1]/evnt/a.root"


def test_given_counts_are_not_counted_again(disk):
    job = parse(SIMPLE.replace("[evnt/a.root]", "[{path: evnt/a.root, events: 7}, {glob: 'evnt/[bc].root', events: 8}]"), disk)
    assert [file.n_events for file in job.inputs] == [7, 8, 8]
    assert disk.asked == []


def test_the_named_tree_is_the_one_asked_for(disk):
    parse(SIMPLE.replace("[evnt/a.root]", "[{path: evnt/a.root, tree: Events}]"), disk)
    assert disk.asked == [("/jobs/evnt/a.root", "Events")]


def test_everything_said_of_an_input_is_kept(disk):
    entry = "{path: 'odd name.dat', lfn: odd.dat, events: 3, guid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427, checksum: 'ad:11e60398'}"
    (file,) = parse(SIMPLE.replace("[evnt/a.root]", f"[{entry}]"), disk).inputs
    assert (file.lfn, file.pfn, file.guid, file.checksum) == (
        "odd.dat",
        "/jobs/odd name.dat",
        "1B4E28BA-2FA1-41D2-883F-0016D3CCA427",
        "ad:11e60398",
    )


def test_a_derived_guid_depends_on_name_and_size_only(disk):
    guid = parse(SIMPLE, disk).inputs[0].guid
    assert guid == derived_guid("a.root", 1000) == parse(SIMPLE.replace("evnt", "/data"), disk).inputs[0].guid
    assert guid not in (derived_guid("b.root", 1000), derived_guid("a.root", 1001))


@pytest.mark.parametrize(
    ("payload", "kind", "options"),
    [
        (
            "{python: 'a.b:c.d', setup: 'a.b:s', options: {x: [1, null]}, path: [., lib, /opt/x/../y]}",
            "python",
            {"function": "a.b:c.d", "setup": "a.b:s", "options": {"x": [1, None]}, "path": ["/jobs", "/jobs/lib", "/opt/y"]},
        ),
        ("{process: [./simulate, --fast, '']}", "process", {"command": ["/jobs/simulate", "--fast", ""]}),
        (
            "{process: [simulate], environment: {A_B: 'x y'}}",
            "process",
            {"command": ["simulate"], "environment": {"A_B": "x y"}},
        ),
        ("{kind: other, options: {deep: {er: 1.5}}}", "other", {"deep": {"er": 1.5}}),
        ("{kind: bare}", "bare", {}),
    ],
)
def test_payloads_become_what_the_plug_ins_expect(disk, payload, kind, options):
    spec = parse(SIMPLE.replace('{python: "my_module:process"}', payload), disk).payload
    assert (spec.kind, spec.options) == (kind, options)


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("root", MergeSpec("root")),
        ("none", MergeSpec("none")),
        ("{kind: concat, options: {a: 1}}", MergeSpec("concat", {"a": 1})),
        ("{python: 'm:f', path: [x]}", MergeSpec("python", {"function": "m:f", "path": ["/jobs/x"]})),
    ],
)
def test_mergers_become_what_the_plug_ins_expect(disk, merge, expected):
    assert parse(SIMPLE + f"merge: {merge}", disk).merge == expected


def test_the_default_merger_follows_the_names_of_the_outputs(disk):
    assert parse(SIMPLE.replace('.root"', '.bin"'), disk).merge == MergeSpec("concat")


@pytest.mark.parametrize("template", ["{n}.root", "{n:03d}.root", "{n:d}.root", "x.{n:02}"])
def test_templates_number_from_one(disk, template):
    job = parse(SIMPLE.replace("HITS.{n:06d}.root", template), disk)
    assert job.outputs == tuple(template.format(n=n) for n in (1, 2, 3))


def test_outputs_may_be_named_one_by_one(disk):
    job = parse(SIMPLE.replace('name: "HITS.{n:06d}.root"', "names: [x, y, z]"), disk)
    assert job.outputs == ("x", "y", "z")


@given(counts=st.lists(st.integers(1, 3000), min_size=1, max_size=20), per_file=st.integers(1, 3000))
def test_there_are_always_as_many_names_as_the_mapping_needs(counts, per_file):
    document = {
        "name": "x",
        "inputs": [{"path": f"{i}.dat", "events": count} for i, count in enumerate(counts)],
        "outputs": {"events_per_file": per_file, "name": "O.{n}"},
        "payload": {"kind": "k"},
    }
    job = parse_job_document(document, "j", "/jobs", _AnyFile())
    assert len(job.outputs) == OutputMap.plan(counts, per_file).n_outputs
    assert len(set(job.outputs)) == len(job.outputs)


class _AnyFile:
    def matching(self, pattern: str) -> list[str]:
        return []

    def facts(self, pfn: str, *, with_checksum: bool) -> FileFacts:
        return FileFacts(1)

    def count_events(self, pfn: str, tree: str | None) -> int:
        raise AssertionError("counts were given")

    def upstream(self, path: str) -> UpstreamTask:
        raise AssertionError("no task was named")


@given(st.lists(st.sampled_from(["a", "b", ".", "..", "", "c d"]), min_size=1, max_size=8), st.booleans())
def test_a_path_has_one_spelling(parts, absolute):
    text = ("/" if absolute else "") + "/".join(parts)
    if not text.strip():
        return
    path = canonical_path("/base/dir", FieldPath("s", "f", text))
    assert path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    assert canonical_path("/elsewhere", FieldPath("s", "f", path)) == path


def test_the_doubled_leading_slash_that_posix_keeps_is_dropped():
    assert canonical_path("/b", FieldPath("s", "f", "//data//x")) == "/data/x"


def test_every_example_of_the_documentation_is_a_job(disk):
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) >= 4
    disk.files |= {
        f"/jobs/{name}": FileFacts(10) for name in ("evnt/EVNT.000001.root", "evnt/more/m.root", "dat/1.dat", "dat/2.dat")
    }
    disk.files["/data/old events.dat"] = FileFacts(10)
    disk.matching = lambda pattern: [name for name in disk.files if re.fullmatch(pattern.replace("*", "[^/]*"), name)]
    names = {parse(example, disk).name for example in examples}
    assert len(names) == len(examples)


def test_every_key_is_documented():
    text = DOCS.read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [key for key in JobDocument.model_fields if not any(f"`{key}`" in heading for heading in headings)] == []


# ---- jobs without input files

GENERATED = """
name: toy
events: 25
first_event: 101
seed: 42
outputs: {events_per_file: 10, name: "toy.{n}.txt"}
payload: {python: "my_module:process"}
"""


def test_events_may_come_from_numbers_and_seeds(disk):
    job = parse(GENERATED, disk)
    assert disk.asked == []
    assert (job.reads_files, job.n_events, job.n_ranges) == (False, 25, 25)
    assert job.outputs == ("toy.1.txt", "toy.2.txt", "toy.3.txt")
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    layout = RangeLayout.of(job)
    last = layout.event_range(24)
    assert (last.range_id, last.pfn, last.first_event, last.last_event) == ("toy-125", "", 125, 125)
    assert last.seeds == (event_seed(42, 125),)
    assert layout.event_of(0) == (0, 101)
    assert layout.places_of(np.array([0, 24]))[1].tolist() == [101, 125]


def test_events_of_files_have_no_seeds(disk):
    first = RangeLayout.of(parse(SIMPLE, disk)).event_range(0)
    assert first.first_event == 1
    with pytest.raises(ValueError, match="has no seed"):
        _ = first.seed


def test_a_seed_that_is_not_given_follows_from_the_name(disk):
    without = GENERATED.replace("seed: 42\n", "")
    named = parse(without, disk).inputs[0].seed
    assert named == parse(without, disk).inputs[0].seed
    assert named not in (None, parse(without.replace("name: toy\n", "name: toz\n"), disk).inputs[0].seed)


@pytest.mark.parametrize("other", ["seed: 43", "first_event: 102", "events: 24"])
def test_other_events_are_another_job(disk, other):
    """A task that has begun must not go on with other events."""
    changed = re.sub(rf"^{other.partition(':')[0]}: .*$", other, GENERATED, flags=re.MULTILINE)
    assert parse(GENERATED, disk).fingerprint() != parse(changed, disk).fingerprint()


def test_an_output_may_be_called_like_a_job_without_inputs(disk):
    assert parse(GENERATED.replace('name: "toy.{n}.txt"', "names: [toy, b, c]"), disk).outputs[0] == "toy"


# ---- workers


def test_what_is_said_of_workers_goes_to_the_payload(disk):
    said = "payload: {process: [run], events_per_range: 50, cores_per_worker: 8, ranges_in_flight: 4}"
    job = parse(SIMPLE.replace('payload: {python: "my_module:process"}', said), disk)
    assert job.payload.options == {"command": ["run"], "events_per_range": 50, "cores_per_worker": 8, "ranges_in_flight": 4}
    assert job.payload.places(64) == 32
    assert PayloadSpec("mine", {"cores_per_worker": "as I like"}).places(64) == 64
    assert job.fingerprint() == parse(SIMPLE, disk).fingerprint(), "a task may go on with workers of another shape"


EIGHT = {"cores_per_worker": 8}


@pytest.mark.parametrize(
    ("shape", "cores", "places"),
    [({}, 7, 7), ({"cores_per_worker": 4, "ranges_in_flight": 4}, 7, 4), (EIGHT, 64, 8), (EIGHT, 2, 1)],
)
def test_how_many_ranges_a_node_computes_at_a_time(shape, cores, places):
    assert WorkerShape.of(shape).places(cores) == places
