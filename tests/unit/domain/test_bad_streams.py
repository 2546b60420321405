"""Bad input for the keys that say what events are, how workers take them and which streams they write: clear refusals."""

import pytest
import yaml

from raythena.domain.errors import InvalidInput
from raythena.domain.jobfile import parse_job_document

GOOD = """
name: two-streams
events: 20
first_event: 5
seed: 3
outputs:
  events_per_file: 10
  streams:
    - {stream: HITS, name: "HITS.{n}.root", merge: root}
    - {stream: LOG, name: "log.{n}.txt"}
payload: {python: "m:f", events_per_range: 5, cores_per_worker: 2}
"""
LOG = '{stream: LOG, name: "log.{n}.txt"}'
PAYLOAD = '{python: "m:f", events_per_range: 5, cores_per_worker: 2}'

BAD = [
    # streams
    (LOG, "{stream: LOG}", "outputs.streams[1].name", "is missing", "a value"),
    (LOG, "{name: 'log.{n}'}", "outputs.streams[1].stream", "is missing", "a value"),
    (LOG, "LOG", "outputs.streams[1]", "is 'LOG'", "a mapping"),
    (LOG, "{steam: LOG, name: 'log.{n}'}", "outputs.streams[1].steam", "unknown key", "Did you mean 'stream'?"),
    (LOG, "{stream: LOG, name: log.txt}", "outputs.streams[1].name", "'log.txt'", "one number in it"),
    (LOG, "{stream: LOG, name: '../{n}'}", "outputs.streams[1].name", "'../1'", "A directory does not belong"),
    (LOG, "{stream: LOG, names: [a, b]}", "outputs.streams[1].names", "unknown key", "name"),
    (LOG, "{stream: 'a log', name: 'log.{n}'}", "outputs.streams[1].stream", "'a log'", "a word of letters"),
    (LOG, "{stream: -LOG, name: 'log.{n}'}", "outputs.streams[1].stream", "'-LOG'", "a word of letters"),
    (LOG, "{stream: ../LOG, name: 'log.{n}'}", "outputs.streams[1].stream", "'../LOG'", "a word of letters"),
    (LOG, "{stream: 7, name: 'log.{n}'}", "outputs.streams[1].stream", "is 7", "a word of letters"),
    (LOG, "{stream: " + "L" * 41 + ", name: 'log.{n}'}", "outputs.streams[1].stream", "LLL", "a word of letters"),
    (LOG, "{stream: HITS, name: 'log.{n}'}", "outputs.streams[1].stream", "'HITS' is listed twice", "outputs.streams[0].stream"),
    (LOG, "{stream: LOG, name: 'HITS.{n}.root'}", "outputs.streams[1].name", "'HITS.1.root' is listed twice", "another than"),
    (LOG, "{stream: LOG, name: 'log.{n}', merge: none}", "outputs.streams[1].merge", "is 'none'", "kept merged only"),
    (LOG, "{stream: LOG, name: 'log.{n}', merge: {kind: none}}", "outputs.streams[1].merge", "is 'none'", "a merger"),
    (LOG, "{stream: LOG, name: 'log.{n}', merge: {pyton: 'm:f'}}", "outputs.streams[1].merge.pyton", "unknown key", "python"),
    (LOG, "{stream: LOG, name: 'log.{n}', merge: 3}", "outputs.streams[1].merge", "is 3", "a mapping"),
    (f"    - {LOG}\n", "", "outputs.streams", "has 1 entries", "at least 2"),
    ("streams:", "name: 'O.{n}'\n  streams:", "outputs", "both name and streams", "one of the two"),
    ("streams:", "stream:", "outputs.stream", "unknown key", "Did you mean 'streams'?"),
    ("payload:", "merge: concat\npayload:", "merge", "does not go with outputs.streams", "a merge in each stream"),
    # events without files
    ("events: 20", "inputs: [{path: a, events: 20}]", "first_event", "does not go with inputs", "events instead of inputs"),
    ("events: 20", "events: 0", "events", "is 0", "a whole number"),
    ("events: 20", "events: many", "events", "is 'many'", "a whole number"),
    ("first_event: 5", "first_event: 0", "first_event", "is 0", "a whole number"),
    ("first_event: 5", "first_evnt: 5", "first_evnt", "unknown key", "Did you mean 'first_event'?"),
    ("seed: 3", "seed: -1", "seed", "is -1", "a whole number"),
    ("seed: 3", "seed: 0.5", "seed", "is 0.5", "a whole number"),
    # workers
    ("events_per_range: 5", "events_per_range: 0", "payload.events_per_range", "is 0", "a whole number"),
    ("events_per_range: 5", "events_per_range: 1001", "payload.events_per_range", "is 1001", "1,000"),
    ("events_per_range: 5", "event_per_range: 5", "payload.event_per_range", "unknown key", "Did you mean 'events_per_range'?"),
    ("cores_per_worker: 2", "cores_per_worker: all", "payload.cores_per_worker", "is 'all'", "a whole number"),
    ("cores_per_worker: 2", "ranges_in_flight: 2", "payload.ranges_in_flight", "does not go with python", "only python"),
    (PAYLOAD, "{process: [x], ranges_in_flight: 0}", "payload.ranges_in_flight", "is 0", "a whole number"),
    (PAYLOAD, "{kind: pilot, events_per_range: 5}", "payload.events_per_range", "does not go with kind", "only kind"),
]


def parse(text):
    return parse_job_document(yaml.safe_load(text), "job.yaml", "/jobs", None)


@pytest.mark.parametrize(("old", "new", "field", "problem", "remedy"), BAD)
def test_each_is_refused_at_its_place(old, new, field, problem, remedy):
    assert GOOD.count(old) == 1
    with pytest.raises(InvalidInput) as refused:
        parse(GOOD.replace(old, new))
    refusal = refused.value
    assert refusal.field == field
    assert problem in refusal.problem
    assert remedy in f"{refusal.expected} {refusal.hint}{refusal.problem}"


def test_there_are_enough_of_them_for_the_new_keys():
    keys = ("stream", "merge", "events", "first_event", "seed", "events_per_range", "cores_per_worker", "ranges_in_flight")
    assert len({(new, field) for _, new, field, _, _ in BAD}) == len(BAD) >= 25
    assert all(any(key in field for _, _, field, _, _ in BAD) for key in keys)


def test_no_more_streams_than_a_bundle_has_room_for():
    many = "".join(f"    - {{stream: S{number}, name: 'S{number}.{{n}}'}}\n" for number in range(31))
    parse(GOOD.replace(f"    - {LOG}\n", many))
    with pytest.raises(InvalidInput, match="lists 33 streams; expected at most 32"):
        parse(GOOD.replace(f"    - {LOG}\n", f"    - {LOG}\n" + many))


def test_what_a_good_one_says():
    job = parse(GOOD)
    assert [(stream.name, stream.outputs, stream.merge.kind) for stream in job.streams] == [
        ("HITS", ("HITS.1.root", "HITS.2.root"), "root"),
        ("LOG", ("log.1.txt", "log.2.txt"), "concat"),
    ]
    assert (job.outputs, job.merge) == (job.streams[0].outputs, job.streams[0].merge)
    assert job.promised == ("HITS.1.root", "HITS.2.root", "log.1.txt", "log.2.txt")
    assert type(job).from_dict(job.to_dict()) == job


def test_the_streams_are_a_part_of_what_a_task_is_and_their_mergers_are_not():
    job = parse(GOOD)
    assert parse(GOOD.replace("merge: root", "merge: concat")).fingerprint() == job.fingerprint()
    assert parse(GOOD.replace("log.", "notes.")).fingerprint() != job.fingerprint()
    assert parse(GOOD.replace("stream: LOG", "stream: NOTES")).fingerprint() != job.fingerprint()


def test_a_job_of_one_output_is_written_as_before():
    job = parse(GOOD[: GOOD.index("  streams:")] + '  name: "O.{n}"\npayload: {python: "m:f"}\n')
    assert "streams" not in job.to_dict()
    assert job.promised == job.outputs == ("O.1", "O.2")
    assert [(stream.name, stream.outputs, stream.merge) for stream in job.merges] == [("", job.outputs, job.merge)]
