"""What computes a job that does not say so itself."""

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.job import MergeSpec
from raythena.domain.jobfile import parse_payload_document

PYTHON = {"python": "simulation:process"}


def test_payload_and_merge_are_those_of_a_job_file():
    payload, merge = parse_payload_document({"payload": PYTHON, "merge": "concat"}, "p.yaml", "/base")
    assert payload.kind == "python"
    assert payload.options["function"] == "simulation:process"
    assert merge == MergeSpec("concat")


def test_merge_may_be_left_out():
    assert parse_payload_document({"payload": PYTHON}, "p.yaml", "/base")[1] is None


@pytest.mark.parametrize(
    ("document", "field", "problem"),
    [
        ([], "", "mapping"),
        ({}, "payload", "is missing"),
        ({"payload": PYTHON, "inputs": []}, "inputs", "unknown key"),
        ({"payload": {"python": "no-colon"}}, "payload.python", ""),
        ({"payload": {"python": "a:b", "process": ["x"]}}, "payload", ""),
        ({"payload": PYTHON, "merge": {"kind": 3}}, "merge.kind", ""),
    ],
)
def test_anything_else_is_refused_where_it_stands(document, field, problem):
    with pytest.raises(InvalidInput) as refusal:
        parse_payload_document(document, "p.yaml", "/base")
    assert refusal.value.source == "p.yaml"
    assert refusal.value.field.startswith(field)
    assert problem in str(refusal.value)
