"""The declaration of the job file and its JSON Schema say the same of every document, right or wrong."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from json_schemas import validator
from raythena.domain.document import FieldPath, read_yaml
from raythena.domain.document_model import DocumentModel, json_schema, parsed
from raythena.domain.errors import InvalidInput
from raythena.domain.job_document import JobDocument

VALIDATOR = validator(json_schema(JobDocument, "a job"))
DOCUMENTS = [Path(__file__).parents[3] / "docs" / name for name in ("job-file.md", "athenamp.md", "containers.md")]
EXAMPLES = [
    document
    for path in DOCUMENTS
    for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)
    if isinstance(document := read_yaml(block, path.name), dict) and {"inputs", "events"} & set(document)
]
EVERYTHING = {
    "name": "all",
    "inputs": [
        "evnt/a.root",
        {
            "path": "b.root",
            "events": 3,
            "tree": "Events",
            "lfn": "c.root",
            "guid": "1B4E28BA-2FA1-41D2-883F-0016D3CCA427",
            "size_bytes": 12,
            "checksum": "ad:0a1b2c3d",
        },
        {"glob": "*.dat", "events": 7, "tree": None},
    ],
    "outputs": {"events_per_file": 5, "name": "HITS.{n:06d}.root"},
    "payload": {"python": "a.b:c", "setup": "a:s", "options": {"x": [1, None]}, "path": [".", "/opt"]},
    "merge": {"python": "m:f", "options": {}, "path": ["lib"]},
    "cores_per_node": 8,
}
OTHER_SHAPES = [
    {"outputs": {"events_per_file": 5, "names": ["a", "b"]}},
    {"payload": {"process": ["./run", "", "-x"], "environment": {"A_B": "x y"}}},
    {"payload": {"kind": "athenamp", "options": {"deep": {"er": 1}}}},
    {"inputs": None, "events": 100, "first_event": 7, "seed": 0},
    {"inputs": None, "events": 1},
    {"payload": {"process": ["./run"], "events_per_range": 50, "cores_per_worker": 8, "ranges_in_flight": 8}},
    {"payload": {"python": "a:b", "events_per_range": 1000, "cores_per_worker": 2}},
    {"merge": "root"},
    {"merge": {"kind": "transform", "options": {"a": 1}}},
]
GOOD = [EVERYTHING, *({**EVERYTHING, **shape} for shape in OTHER_SHAPES), *EXAMPLES]


def refusal(document: object) -> InvalidInput | None:
    try:
        parsed(JobDocument, FieldPath("job.yaml", "", document))
    except InvalidInput as error:
        return error
    return None


@pytest.mark.parametrize("document", GOOD, ids=lambda document: document["name"])
def test_what_is_documented_is_taken_by_both(document):
    assert refusal(document) is None
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_there_are_examples_of_every_shape():
    assert len(EXAMPLES) >= 8
    assert len(GOOD) == len(EXAMPLES) + 1 + len(OTHER_SHAPES)


# ---- documents with something changed somewhere

ODD_TEXTS = [
    *("", " ", "a", "a b", "../x", "a\n", "a\0b", "m:f", "m.n:f.g", "a:b:c", "none", "-rf", "x" * 241, "root://x//y", "é", "A=B"),
    *("{n}", "{n:06d}", "x{n:2d}", "{m}", "{n}{n}", "{{n}}", "{n", "n}", "{n!r}", "{n:}", "a/{n}", "{n:01}", "ad:1", "ad:x"),
    "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
]
KEYS = sorted(
    {"stranger", "Path", "", "é"}
    | {key for part in (EVERYTHING, *OTHER_SHAPES) for key in part}
    | {key for document in GOOD for part in ("outputs", "payload") for key in document[part]}
    | {"path", "glob", "lfn", "kind", "events", "tree", "size_bytes", "checksum", "guid"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 500, 4096, 4097, 4_000_000_000, 4_000_000_001, 1.0, 500.0, 0.5, 1e30]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def holders(tree: object) -> list[Any]:
    """Every list and mapping of a document."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return ([tree] if isinstance(tree, dict | list) else []) + [one for entry in inner for one in holders(entry)]


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """A good document with a few things replaced, left out, added or put elsewhere."""
    document = copy.deepcopy(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 3))):
        places = holders(document)
        holder = draw(st.sampled_from(places))
        value = draw(VALUES | st.sampled_from(places).map(copy.deepcopy))
        if isinstance(holder, list):
            index = draw(st.integers(0, len(holder)))
            holder[index : index + draw(st.integers(0, 1))] = [value] if draw(st.booleans()) else []
        elif holder and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(holder)))
            if draw(st.booleans()):
                holder[key] = value
            else:
                del holder[key]
        else:
            holder[draw(st.sampled_from(KEYS))] = value
    return document if draw(st.integers(0, 20)) else draw(VALUES)


@example({**EVERYTHING, "cores_per_node": 8.0})
@example({**EVERYTHING, "name": "a\n"})
@example({**EVERYTHING, "merge": None})
@example({**EVERYTHING, "merge": {"\x1f": None}})
@example({**EVERYTHING, "payload": {"python": None, "process": ["x"]}})
@given(mutated())
def test_the_schema_refuses_what_we_refuse_and_nothing_else(document):
    """A document that JSON can carry; what is refused names its place and stays on one line."""
    document = json.loads(json.dumps(document))
    refused = refusal(document)
    assert (refused is None) == VALIDATOR.is_valid(document), refused
    if refused is not None:
        assert refused.source == "job.yaml"
        assert str(refused).isprintable()
        assert "<" not in refused.field or "<" in json.dumps(document), "the names of shapes are nobody's business"


@given(st.sampled_from(GOOD), st.data())
def test_a_misspelt_key_is_refused_where_it_stands_by_both(document, data):
    document = copy.deepcopy(document)
    keyed = [document, document["outputs"], document["payload"]]
    holder = data.draw(st.sampled_from(keyed))
    key = data.draw(st.sampled_from(sorted(holder)))
    holder[f"{key}x"] = holder.pop(key)
    refused = refusal(document)
    assert refused is not None
    assert refused.field.endswith(f"{key}x")
    assert not VALIDATOR.is_valid(document)


# ---- what the models are made of


def every_model(model: type[DocumentModel] = DocumentModel) -> list[type[DocumentModel]]:
    return [one for below in model.__subclasses__() for one in (below, *every_model(below))]


def test_every_key_says_what_it_means():
    models = every_model()
    assert len(models) >= 10
    assert [(model.__name__, key) for model in models for key, info in model.model_fields.items() if not info.description] == []


def test_a_whole_number_written_with_a_point_is_one():
    document = {**EVERYTHING, "cores_per_node": 8.0}
    taken = parsed(JobDocument, FieldPath("job.yaml", "", document))
    assert (taken.cores_per_node, type(taken.cores_per_node)) == (8, int)


def test_an_empty_value_counts_as_left_out():
    assert parsed(JobDocument, FieldPath("j", "", {**EVERYTHING, "merge": None})).merge is None
    error = refusal({**EVERYTHING, "name": None})
    assert error is not None
    assert (error.field, error.problem) == ("name", "is missing")
