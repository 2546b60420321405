"""The generator example: its job file is one, and an event is the same whoever generates it, whatever came before."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from raythena.domain.ranges import RangeLayout
from raythena.gateways.file import load_job

PLACE = Path(__file__).parents[3] / "examples" / "pythia"


@pytest.fixture
def generator():
    pytest.importorskip("pythia8mc", reason="needs the extra 'demo'")
    spec = importlib.util.spec_from_file_location("generator", PLACE / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_event_is_its_number_and_its_seed(generator):
    job = load_job(PLACE / "generate.yaml")
    layout = RangeLayout.of(job)

    def generate(indices):
        state = generator.initialise(job.payload.options["options"])
        return {index: generator.generate(layout.event_range(index), SimpleNamespace(state=state)) for index in indices}

    forwards, backwards = generate(range(12)), generate(reversed(range(12)))
    assert forwards == backwards
    events = [json.loads(forwards[index]) for index in range(12)]
    assert [event["EventNumber"] for event in events] == list(range(1, 13))
    assert len({event["seed"] for event in events}) == 12
    assert len({event["particles"] for event in events}) > 3
    assert all(event["mass"] == pytest.approx(91.188) for event in events)


def test_a_setting_that_is_none_is_told(generator):
    with pytest.raises(RuntimeError, match="cannot be initialised"):
        generator.initialise({"settings": ["Beams:eCM = -1.", "SoftQCD:all = on"]})
