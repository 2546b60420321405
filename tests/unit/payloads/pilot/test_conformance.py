"""The payload `pilot` passes the conformance suite, with a double of the pilot in both dialects."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from raythena.payloads.pilot.pilot_payload import PilotPayload
from raythena.testing.payload_conformance import CHECKS, Subject

DOUBLE = Path(__file__).with_name("pilot_double.py")
JOB = {"PandaID": 7, "jobsetID": 6, "taskID": 5}


def options(dialect):
    def told(behaviour):
        return {
            "command": [sys.executable, "-I", "-S", str(DOUBLE)],
            "version": "3.7.0.36",
            "job": JOB,
            "environment": {"PILOT_DOUBLE": json.dumps({**asdict(behaviour), "dialect": dialect})},
            "over_delivery": 2,
            "busy_hold_s": 0.3,
            "report_grace_s": 2.0,
        }

    return told


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, tmp_path):
    asyncio.run(check(Subject(PilotPayload, options("form")), tmp_path))


@pytest.mark.parametrize("check", CHECKS[:2], ids=lambda check: check.__name__)
def test_the_newer_dialect(check, tmp_path):
    asyncio.run(check(Subject(PilotPayload, options("json")), tmp_path))
