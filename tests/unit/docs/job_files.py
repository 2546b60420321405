"""Job files told in documents, with everything they name: inputs with events, programs, modules, directories."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import uproot
import yaml

from raythena.domain.ids import OutputNumber
from raythena.domain.records import GroupStored, OutputMerged
from raythena.domain.results import MergedOutput
from raythena.storage.atomic import adler32_of
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.testing.simulation.samples import group_of, small_job

ELSEWHERE = ("/data/", "/opt/", "/cvmfs/", "/path/")
"""Where documents say things are that are not on this machine."""
EVENTS_IN_ROOT_FILE = 12

OUTPUT = """
def output(lfn, event, tree):
    import io
    import numpy as np, uproot
    if not tree:
        return f"{lfn} {event}\\n".encode()
    stream = io.BytesIO()
    with uproot.recreate(stream) as file:
        file[tree] = {"EventNumber": np.array([event])}
        return stream.getvalue()
"""
MODULE = (
    OUTPUT
    + """
def load_geometry(*_):
    return {}

def process(event_range, context):
    return output(event_range.lfn, event_range.first_event, TREE)

def merge(inputs, output, context):
    output.write_bytes(b"".join(path.read_bytes() for path in inputs))
    return len(inputs)
"""
)
PROGRAM = (
    OUTPUT
    + """
from raythena.client import EventServer

for event in EventServer():
    path = event.new_output(".out")
    path.write_bytes(output(event.lfn, event.first, TREE))
    event.done(path)
"""
)


def materialised(text: str, directory: Path) -> Path:
    """The job file, in a directory with all it names. Paths of machines that are not this one lead below it."""
    for place in ELSEWHERE:
        text = text.replace(place, f"{directory}{place}")
    for place in sorted(set(re.findall(rf"{re.escape(str(directory))}[^\s,\]]+", text))):
        _write_place(Path(place))
    path = directory / "job.yaml"
    path.write_text(text)
    document = yaml.safe_load(text)
    inputs = document.get("inputs", [])
    if isinstance(inputs, dict):
        _write_task(directory / inputs["from"])
    for entry in inputs if isinstance(inputs, list) else ():
        _write_input(directory, entry)
    payload, merge = document.get("payload", {}), document.get("merge")
    if merge is None:
        merge = "root" if str(document.get("outputs", {}).get("name", ".root")).endswith(".root") else "concat"
    preamble = f"TREE = {_tree(merge)!r}\n"
    for name in ("python", "setup"):
        _write_module(directory, payload.get(name), preamble)
    _write_module(directory, merge.get("python") if isinstance(merge, dict) else None, preamble)
    for program in _words(payload.get("process"))[:1]:
        _write_program(directory, program, preamble)
    for place in payload.get("path", []):
        (directory / place).mkdir(parents=True, exist_ok=True)
    return path


def _write_place(path: Path) -> None:
    """A file where the last part of a path has a suffix in letters, or looks like one of a proxy; else a directory."""
    if path.suffix[1:].isalpha() or path.name.startswith("x509"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"MY_QUEUE": {}}')
    else:
        path.mkdir(parents=True, exist_ok=True)
        if "PandaPilot" in path.parts:
            _write_place(path / "pilot" / "util" / "default.cfg")
            (path / "pilot.py").write_text("")
            (path / "PILOTVERSION").write_text(path.name)


def _words(value) -> list[str]:
    return value if isinstance(value, list) else []


def _write_input(directory: Path, entry) -> None:
    pattern = entry if isinstance(entry, str) else entry.get("path") or entry["glob"]
    path = directory / pattern.replace("*", "000007")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".root":
        with uproot.recreate(path) as file:
            count = EVENTS_IN_ROOT_FILE if isinstance(entry, str) else entry.get("events", EVENTS_IN_ROOT_FILE)
            file["EVNT"] = {"EventNumber": np.arange(count) + 1}
    else:
        path.write_text("events")


def _write_task(directory: Path) -> None:
    """A task that has merged its first output, an event of one."""
    job = small_job((1,), 1, name="simulation")
    (directory / "outputs").mkdir(parents=True)
    (directory / "job.json").write_text(json.dumps(job.to_dict()))
    path = directory / "outputs" / job.outputs[0]
    with uproot.recreate(path) as file:
        file["HITS"] = {"EventNumber": np.array([1])}
    merged = MergedOutput(OutputNumber(0), path.name, f"outputs/{path.name}", "GUID", path.stat().st_size, adler32_of(path), 1)
    with Ledger.create(directory / "ledger.sqlite", job) as ledger:
        ledger.begin_session(SessionInfo("s", "h", 1, 0.0))
        ledger.commit([GroupStored(group_of("g", "n", 0, [0])), OutputMerged(merged, ())])


def _tree(merge) -> str:
    """The tree in the outputs of a job that merges ROOT files; empty: the outputs are text."""
    if isinstance(merge, dict):
        return merge.get("options", {}).get("tree", "HITS") if merge.get("kind") == "root" else ""
    return "HITS" if merge == "root" else ""


def _write_module(directory: Path, target, preamble: str) -> None:
    if isinstance(target, str):
        *packages, module = target.partition(":")[0].split(".")
        place = directory.joinpath(*packages)
        place.mkdir(parents=True, exist_ok=True)
        function = target.partition(":")[2] or "process"
        alias = "" if f"def {function}(" in MODULE else f"\n{function} = process\n"
        (place / f"{module}.py").write_text(preamble + MODULE + alias)


def _write_program(directory: Path, program: str, preamble: str) -> None:
    if shutil.which(program) is None:
        path = directory / program
        path.write_text(f"#!{sys.executable}\n{preamble}{PROGRAM}")
        path.chmod(0o755)
