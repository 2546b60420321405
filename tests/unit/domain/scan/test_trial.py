"""What a program writes about a trial: only finite numbers are losses; points and results survive their journey."""

from __future__ import annotations

import json

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.scan.trial import MAX_OUTPUT_BYTES, Point, TrialReport, TrialResult, parse_output


def read(text: str | bytes, *objectives: str):
    return parse_output(text.encode() if isinstance(text, str) else text, "output.json", objectives or ("loss",))


def test_a_loss_is_read():
    assert read('{"status": 0, "loss": 0.25}') == ({"loss": 0.25}, {})
    assert read('{"loss": 3, "message": "fine", "auc": 0.9}') == ({"loss": 3.0}, {"message": "fine", "auc": 0.9})
    assert read('{"error": 1, "time": 2.5}', "error", "time") == ({"error": 1.0, "time": 2.5}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"status": 0}', "output.json: loss: is missing; expected a number"),
        ('{"loss": null}', "is missing"),
        ('{"loss": NaN}', "holds NaN, which is no JSON number"),
        ('{"loss": Infinity}', "holds Infinity"),
        ('{"loss": -Infinity}', "holds -Infinity"),
        ('{"loss": 1e999}', "is inf; expected a finite number"),
        ('{"loss": ' + "9" * 400 + "}", "is too large"),
        ('{"loss": "0.25"}', "is '0.25'; expected a number"),
        ('{"loss": true}', "is true; expected a number"),
        ('{"loss": [0.25]}', "expected a number"),
        ('{"status": 1, "loss": 0.25, "message": "no data"}', "output.json: status: is 1: no data; expected 0"),
        ('{"status": true, "loss": 0.25}', "status: is true"),
        ('{"status": "0", "loss": 0.25}', "status: is '0'"),
        ('{"loss": 0.25', "ends in the middle"),
        ("", "is empty"),
        ("0.25", "expected an object"),
        (b'{"loss": "\xff"}', "is not UTF-8"),
        (b" " * (MAX_OUTPUT_BYTES + 1), "expected at most 1,000,000"),
        ('{"loss": 1, "loss": 2}', "given twice"),
    ],
)
def test_whatever_is_no_finite_number_is_refused(text, told):
    with pytest.raises(InvalidInput) as refusal:
        read(text)
    assert told in str(refusal.value)


def test_a_point_survives_its_journey():
    point = Point(7, {"rate": 0.1, "layers": [64, 32], "kind": None}, ((1.0, 0.5), (3.0, 0.25)))
    assert Point.from_text(point.to_text()) == point
    assert Point.from_text(Point(1, {}).to_text()) == Point(1, {})
    assert json.loads(Point(1, {"a": 1}).to_text()) == {"number": 1, "parameters": {"a": 1}}


def test_a_result_survives_its_journey():
    result = TrialResult(3, {"a": [1]}, {"loss": 0.1}, True, (TrialReport(1.0, 0.5, 0.25),), 12.5, {"auc": 0.9})
    assert TrialResult.from_bytes(result.to_bytes()) == result
