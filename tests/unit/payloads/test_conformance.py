"""The shipped payloads keep every rule of payloads: `python`, `process` with the Python client, `process` with the C++ client."""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import pytest

from raythena.runtime.payload_interface import payload_plugin
from raythena.testing.payload_conformance import CHECKS, Subject

HERE = Path(__file__).parent


def python_options(behaviour):
    settings = {name: value for name, value in dataclasses.asdict(behaviour).items() if value}
    return {"function": "behaving:process", "setup": "behaving:setup", "path": [str(HERE)], "options": settings}


def program_options(behaviour):
    return {"command": [sys.executable, str(HERE / "behaving.py"), json.dumps(dataclasses.asdict(behaviour))]}


def cpp_options(program):
    def options(behaviour):
        command = [str(program), "--event-ms", str(behaviour.event_s * 1000)]
        for name in ("fail", "crash", "hang", "bad_output"):
            for number in getattr(behaviour, name):
                command += ["--" + name.replace("_", "-"), str(number)]
        return {"command": command}

    return options


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ["python", "process", "cpp"])
def test_conformance(kind, check, tmp_path, request):
    if kind == "python":
        subject = Subject(payload_plugin("python").factory, python_options)
    elif kind == "process":
        subject = Subject(payload_plugin("process").factory, program_options)
    else:
        subject = Subject(payload_plugin("process").factory, cpp_options(request.getfixturevalue("event_loop")))
    asyncio.run(check(subject, tmp_path))
