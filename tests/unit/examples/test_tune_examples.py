"""The scans to copy: they are accepted, and their trainings train."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from raythena.cli.tune import _read
from raythena.domain.scan.trial import Point, TrialResult
from raythena.gateways.file import read_document
from raythena.payloads.trials.trial_worker import evaluate, prepare
from raythena.tune.scan_job import scan_job

EXAMPLES = Path(__file__).parents[3] / "examples" / "tune"


@pytest.fixture
def context(tmp_path):
    """What a worker gives a trial."""

    class Context:
        scratch = tmp_path
        state: object = None

    yield Context()
    sys.modules.pop("training", None)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("network", {"rate": 0.01, "alpha": 1e-4, "layers": [16]}),
        ("trees", {"rate": 0.3, "leaves": 4, "l2": 1.0, "iterations": 8}),
    ],
)
def test_an_example_trains(name, parameters, context, monkeypatch):
    path = EXAMPLES / f"{name}.yaml"
    scan, document = _read(read_document(path), path)
    assert scan.space.holds({**parameters, **({"iterations": 24} if name == "trees" else {})})
    options = scan_job(scan, document, path).payload.options
    for entry in options["path"]:
        monkeypatch.syspath_prepend(entry)
    context.state = prepare(options)
    point = Point(1, parameters)
    event = type("Range", (), {"range_id": "point-1", "point": point.to_text()})()
    result = TrialResult.from_bytes(evaluate(event, context))
    assert result.values["loss"] < 2.3, "better than guessing"
    assert len(result.reports) > 1
