from __future__ import annotations

import pickle

import pytest

from raythena.domain import errors
from raythena.domain.errors import InvalidInput, MergeError, MissingInput, RaythenaError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RaythenaError)]


def test_a_refusal_says_where_what_and_what_to_do():
    refusal = InvalidInput("job.yaml", "inputs[2].events", "is 0", expected="at least 1", hint="Count again")
    assert str(refusal) == "job.yaml: inputs[2].events: is 0; expected at least 1. Count again"
    assert str(InvalidInput("job.yaml", "", "is empty")) == "job.yaml: is empty"


def test_errors_cross_process_boundaries_whole():
    refusal = pickle.loads(pickle.dumps(InvalidInput("a", "b", "c", expected="d", hint="e")))
    assert (refusal.source, refusal.field, refusal.problem, refusal.expected, refusal.hint) == ("a", "b", "c", "d", "e")
    assert type(pickle.loads(pickle.dumps(MissingInput("a", "b", "c")))) is MissingInput
    assert pickle.loads(pickle.dumps(MergeError("x", (1, 2)))).bad_ranges == (1, 2)
    assert pickle.loads(pickle.dumps(MergeError("x", (1, 2), ("a", "b")))).reasons == ("a", "b")


@pytest.mark.parametrize("error", [kind for kind in CLASSES if not issubclass(kind, InvalidInput)])
def test_every_other_error_is_made_from_a_message_and_pickled(error):
    assert str(pickle.loads(pickle.dumps(error("what happened")))) == "what happened"


def test_the_tree_in_the_documentation_is_the_tree():
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in (errors.__doc__ or "")] == []
