"""A payload and a merge inside real containers: what they see, what they do not, and who is to blame when it goes wrong."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from raythena.domain.errors import ContainerError, MergeContainerError, MergeError, PayloadError
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.ranges import EventRange
from raythena.payloads.mergers.transform import TRANSFORM
from raythena.payloads.workers.program import ProcessPayload
from raythena.runtime.merger_interface import MergeContext
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, Released, Started
from raythena.runtime.process_guard_main import living_processes

LFN = "HITS.1.pool.root"
SHOW = 'env > "$RAYTHENA_SCRATCH/seen"; cat /etc/which-image > "$RAYTHENA_SCRATCH/image"; exec event_loop --mode spool'


def compute(directory, options, events=4):
    """Results by range index: the bytes of each output."""

    async def run():
        payload = ProcessPayload()
        inputs = (InputFile("EVNT.root", str(directory / "evnt" / "EVNT.root"), events),)
        job = Job("contained", inputs, ("OUT",), PayloadSpec("process", options), MergeSpec(), events)
        context = PayloadContext(
            "n", 1, directory / "scratch", options, "job", directory / "logs", job=job, first_time_limit_s=60.0
        )
        await payload.start(context)
        try:
            payload.feed([LeasedRange(n, EventRange(f"id-{n}", "EVNT.root", "/x", "g", n, n + 1)) for n in range(events)])
            found = {}
            while len(found) < events:
                for outcome in await payload.poll(5.0):
                    if isinstance(outcome, Done):
                        found[outcome.index] = outcome.path.read_bytes()[outcome.offset :][: outcome.size_bytes]
                    elif not isinstance(outcome, Started | Released):
                        found[outcome.index] = outcome
            return found
        finally:
            await payload.stop()

    (directory / "evnt").mkdir(exist_ok=True)
    (directory / "evnt" / "EVNT.root").write_text("input\n")
    return asyncio.run(run())


def merge(directory, **options):
    for name in ("inputs", "work", "logs"):
        (directory / name).mkdir(exist_ok=True)
    for number in range(3):
        (directory / "inputs" / f"{number}").write_text(f"event {number}\n")
    parameters = "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0}"
    options = {"transformation": "HITSMerge_tf.py", "parameters": parameters, **options}
    context = MergeContext(LFN, "guid", options, None, directory / "work", directory / "logs" / "merge")
    TRANSFORM(sorted((directory / "inputs").iterdir()), directory / "merged", context)
    return (directory / "merged").read_text()


def test_a_payload_computes_inside(tmp_path, surroundings, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nobody/s/business")
    monkeypatch.setenv("SITE_NAME", "here")
    command = ["bash", "-c", f'cat {tmp_path}/evnt/EVNT.root > "$RAYTHENA_SCRATCH/input"; {SHOW}']
    container = {**surroundings, "inherit": ["SITE_*"]}
    found = compute(tmp_path, {"command": command, "container": container, "environment": {"COLOUR": "a 'b'"}})
    assert {index: json.loads(data)["EventNumber"] for index, data in found.items()} == {n: n for n in range(4)}
    (place,) = (tmp_path / "scratch").glob("w0-*")
    assert (place / "image").read_text() == "ours\n"
    assert (place / "input").read_text() == "input\n"
    seen = (place / "seen").read_text()
    assert "COLOUR=a 'b'\n" in seen
    assert "SITE_NAME=here\n" in seen
    assert "RAY_" not in seen
    assert "VIRTUAL_ENV" not in seen
    assert (place / "raythena_payload.sh").stat().st_mode & 0o777 == 0o600


def test_inputs_cannot_be_written_to(tmp_path, surroundings):
    command = ["bash", "-c", f"echo spoilt > {tmp_path}/evnt/EVNT.root; exec event_loop --mode spool"]
    compute(tmp_path, {"command": command, "container": surroundings})
    assert (tmp_path / "evnt" / "EVNT.root").read_text() == "input\n"


def test_a_program_that_crashes_inside_is_the_payload_s_fault(tmp_path, surroundings):
    options = {"command": ["event_loop", "--crash", "1"], "container": surroundings}
    found = compute(tmp_path, options, 3)
    assert isinstance(found[1], Failed)
    assert isinstance(found[2], bytes)


def test_a_program_that_is_not_in_the_image_is_no_fault_of_the_engine(tmp_path, surroundings):
    options = {"command": ["no-such-program"], "container": surroundings}
    with pytest.raises(PayloadError, match="no-such-program") as caught:
        compute(tmp_path, options)
    assert not isinstance(caught.value, ContainerError)


@pytest.mark.parametrize("fault", [{"image": "/no/such/image"}, {"binds": ["/no/such/path"]}, {"options": ["--no-such-option"]}])
def test_an_engine_that_fails_is_named(tmp_path, surroundings, fault):
    container = {**surroundings, **fault}
    engine = surroundings["engine"]
    with pytest.raises(ContainerError, match=f"was not entered, {engine} exited with status"):
        compute(tmp_path, {"command": ["event_loop"], "container": container})
    with pytest.raises(MergeContainerError, match=f"was not entered, {engine} exited with status"):
        merge(tmp_path, container=container)


def test_a_merge_runs_inside(tmp_path, surroundings):
    assert merge(tmp_path, container=surroundings) == "event 0\nevent 1\nevent 2\n"
    assert f"merged in a container: ours, {tmp_path / 'work'}" in (tmp_path / "logs" / "merge.out.log").read_text()


def test_a_merge_that_fails_inside_is_its_own_fault(tmp_path, surroundings):
    container = {**surroundings, "setup": ["echo broken release >&2; exit 3"]}
    with pytest.raises(MergeError, match=r"exit code 3.*broken release") as caught:
        merge(tmp_path, container=container)
    assert not isinstance(caught.value, MergeContainerError)


def test_a_container_that_takes_too_long_leaves_nothing(tmp_path, surroundings):
    container = {**surroundings, "setup": ['while true; do read -rt 1 < <(:); done; echo "$PPID"']}
    with pytest.raises(MergeError, match="did not end within 2 s"):
        merge(tmp_path, container=container, time_limit_s=2)
    deadline = time.monotonic() + 10
    while any(str(tmp_path) in _command(pid) for pid, _ in living_processes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_engine_that_is_not_there_is_told(tmp_path):
    container = {"engine": "shifter", "image": "docker:x"}
    with pytest.raises(ContainerError, match="no program 'shifter' in PATH"):
        compute(tmp_path, {"command": ["true"], "container": container, "environment": {"PATH": str(tmp_path)}})
    with pytest.raises(MergeContainerError, match="no shifter on PATH"):
        merge(tmp_path, container=container, environment={"PATH": str(tmp_path)})


def _command(pid):
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return ""
