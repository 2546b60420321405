"""The payload `athenamp` keeps every rule of payloads."""

import asyncio

import pytest
from athenamp_kit import numbered, transform_options

from athenamp_stand_in.content import write_evnt
from raythena.payloads.athenamp import AthenaMPPayload
from raythena.testing.payload_conformance import CHECKS, Subject

EVENTS = 2100


@pytest.fixture(scope="module")
def evnt(tmp_path_factory):
    path = tmp_path_factory.mktemp("input") / "EVNT.1.root"
    return path, write_evnt(path, range(1, EVENTS))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, tmp_path, evnt):
    path, guid = evnt

    def options(behaviour):
        misdeeds = {"seek": behaviour.fail, "crash": behaviour.crash, "hang": behaviour.hang, "missing": behaviour.bad_output}
        return transform_options(path, {"event_s": behaviour.event_s, **misdeeds})

    asyncio.run(check(Subject(AthenaMPPayload, options, lambda number: numbered(path, guid, number)), tmp_path))
