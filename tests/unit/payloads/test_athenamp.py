"""The payload `athenamp` when AthenaMP misbehaves, in every way it is known to, and when it does not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from athenamp_kit import FIRST_NUMBER, PATIENCE_S, STAND_INS, event_number, numbered, play, transform_options

from athenamp_stand_in.content import write_evnt
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput, NumbersExhausted, PayloadError
from raythena.domain.job import MergeSpec, PayloadSpec
from raythena.domain.job_number import STARTS, JobNumbers
from raythena.domain.panda import parse_panda_job, to_job
from raythena.domain.results import FailureKind
from raythena.payloads.athenamp import AthenaMPPayload
from raythena.payloads.latency import read_summary
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext
from raythena.runtime.process_guard_main import living_processes


def kinds(stage):
    return {index: failed.kind for index, failed in stage.failed.items()}


def test_outputs_are_those_of_their_events_and_times_are_told(tmp_path):
    async def scene(stage):
        stage.feed(*range(1, 41))
        await stage.settled(40)
        assert stage.numbers() == {n: FIRST_NUMBER + n - 1 for n in range(1, 41)}
        assert all(done.path.is_relative_to(stage.scratch) and done.wall_s > 0 for done in stage.done.values())
        await stage.payload.drain(60.0)
        summary = stage.payload.latency()
        assert summary.first_range_s > 0
        assert summary.waits + summary.starved >= 36
        assert summary.exit_s is not None

    play(scene, tmp_path)
    assert read_summary(tmp_path / "logs").first_range_s > 0
    assert (tmp_path / "logs" / "athenamp.log").exists()


def test_what_athenamp_reports_is_charged_to_the_range_alone(tmp_path):
    plan = {"parse": [1], "not_found": [2], "seek": [3], "process": [4], "no_output": [5], "bad_input": [6], "crash": [7]}

    async def scene(stage):
        stage.feed(*range(1, 31))
        await stage.settled(30)
        reported = dict.fromkeys((2, 3, 6), FailureKind.REPORTED)
        crashed = dict.fromkeys((4, 7), FailureKind.CRASH)
        assert kinds(stage) == {1: FailureKind.PROTOCOL, 5: FailureKind.BAD_OUTPUT, **reported, **crashed}
        assert "Wrong format" in stage.failed[1].message
        assert "Seek failed" in stage.failed[3].message
        assert set(stage.numbers().values()) == {FIRST_NUMBER + n - 1 for n in range(8, 31)}

    play(scene, tmp_path, plan)


def test_reports_that_cannot_be_used(tmp_path):
    plan = {"two_files": [1], "missing": [2], "empty": [3], "truncated": [4], "elsewhere": [5], "no_id": [6], "duplicate": [7]}
    plan |= {"garbage": [8], "wrong_id": [9]}

    async def scene(stage):
        stage.feed(*range(1, 21))
        await stage.settled(20)
        bad = dict.fromkeys((2, 3, 4, 5), FailureKind.BAD_OUTPUT)
        assert kinds(stage) == {6: FailureKind.PROTOCOL, 9: FailureKind.PROTOCOL, 1: FailureKind.BAD_OUTPUT, **bad}
        assert "truncated" in stage.failed[4].message
        assert {7, 8} <= stage.done.keys()

    play(scene, tmp_path, plan)


def test_outputs_that_are_never_reported_are_found(tmp_path):
    """The files are complete: nothing is computed again, wherever among the others the report got lost."""
    plan = {"silent": [3, 10]}

    async def scene(stage):
        stage.feed(*range(1, 11))
        await stage.settled(10)
        assert stage.failed == {}
        assert stage.numbers()[3] == FIRST_NUMBER + 2

    play(scene, tmp_path, plan)


def test_the_last_result_is_not_held_back_although_a_worker_waits(tmp_path):
    """AthenaMP reports nothing while one of its workers waits for a range; nobody may have to say "No more events" for that."""

    async def scene(stage):
        for n in range(1, 9):
            stage.feed(n)
            await stage.settled(n)
        stage.feed(*range(11, 14))
        await stage.settled(11)
        assert stage.failed == {11: stage.failed[11], 12: stage.failed[12]}
        run = stage.payload._run
        assert run is not None
        assert run.number == 1

    play(scene, tmp_path, {"event_s": 0.05, "crash": [11], "seek": [12]})


def test_without_flushes_the_transform_is_ended_instead(tmp_path):
    async def scene(stage):
        stage.feed(1, 2, 3)
        await stage.settled(3)
        stage.feed(4, 5, 6)
        await stage.settled(6)
        assert kinds(stage) == {3: FailureKind.REPORTED}

    play(scene, tmp_path, {"event_s": 0.1, "seek": [3]}, flush=False)


@pytest.mark.parametrize("misdeed", ["die", "die_late"])
def test_when_everything_dies_finished_files_are_saved_and_the_rest_is_charged(tmp_path, misdeed):
    once = tmp_path / "once"
    once.mkdir()

    async def scene(stage):
        stage.feed(*range(1, 31))
        await stage.settled(30)
        assert set(kinds(stage).values()) <= {FailureKind.CRASH}
        assert (7 in stage.failed) == (misdeed == "die")
        assert len(stage.failed) <= 2
        assert all("SIGKILL" in failed.message for failed in stage.failed.values())
        again = list(stage.failed)
        stage.failed.clear()
        stage.feed(*again)
        await stage.settled(30)
        assert set(stage.numbers().values()) == {FIRST_NUMBER + n - 1 for n in range(1, 31)}

    play(scene, tmp_path, {misdeed: [7], "once": str(once), "event_s": 0.02})


def test_a_range_that_always_kills_everything_is_charged_every_time(tmp_path):
    async def scene(stage):
        for _ in range(2):
            stage.failed.clear()
            stage.feed(5)
            await stage.settled(1)
            assert kinds(stage) == {5: FailureKind.CRASH}

    play(scene, tmp_path, {"die": [5]}, cores=1)


@pytest.mark.parametrize("status", [0, 65])
def test_an_exit_right_after_the_last_message_loses_nothing(tmp_path, status):
    once = tmp_path / "once"
    once.mkdir()

    async def scene(stage):
        stage.feed(*range(1, 13))
        await stage.settled(12)
        assert stage.failed == {}
        assert stage.payload._account.runs == 2

    play(scene, tmp_path, {"exit_after": [6], "exit": status, "once": str(once)}, cores=1)


def test_a_bad_exit_after_all_events_costs_nothing(tmp_path):
    async def scene(stage):
        stage.feed(*range(1, 5))
        await stage.settled(4)
        await stage.payload.drain(60.0)
        await stage.settled(4)
        assert stage.failed == {}

    play(scene, tmp_path, {"exit": 65, "job_report": True})


def test_a_slow_start_is_waited_for(tmp_path):
    async def scene(stage):
        stage.feed(1, 2)
        await stage.settled(2)
        assert stage.payload.latency().first_range_s >= 1.0

    play(scene, tmp_path, {"start_s": 1.0})


def test_a_start_that_takes_for_ever_ends_the_payload(tmp_path):
    async def scene(stage):
        stage.feed(1)
        with pytest.raises(PayloadError, match=r"3 times in a row.*did not ask for events"):
            await stage.until(lambda: False)
        assert stage.released == {1}

    play(scene, tmp_path, {"start_s": 3600}, limits={"first_time_limit_s": 0.3})


def test_a_transform_that_cannot_work_ends_the_payload_with_its_words(tmp_path):
    async def scene(stage):
        with pytest.raises(PayloadError, match=r"exited with status 65.*only --eventService=True"):
            await stage.until(lambda: False)

    words = transform_options(tmp_path / "EVNT.1.root", {})["command"]
    play(scene, tmp_path, command=[word for word in words if "eventService" not in word])


def test_a_hanging_event_costs_one_worker(tmp_path):
    async def scene(stage):
        stage.feed(*range(1, 21))
        await stage.settled(20)
        stage.feed(30, *range(31, 41))
        await stage.settled(31)
        assert kinds(stage) == {30: FailureKind.HANG}
        assert stage.payload._account.runs == 1

    play(scene, tmp_path, {"hang": [30]}, limits={"min_time_limit_s": 6.0})


def test_a_hanging_worker_that_cannot_be_found_costs_a_restart_and_one_range(tmp_path, monkeypatch):
    monkeypatch.setattr("raythena.payloads.athena_workers.WORKER_LOG", "another.log")

    async def scene(stage):
        stage.feed(*range(1, 21))
        await stage.settled(20)
        stage.feed(30, *range(31, 41))
        await stage.settled(31)
        await stage.until(lambda: stage.payload._run is None or not stage.payload._run.ending)
        stage.feed(41)
        await stage.settled(32)
        assert kinds(stage) == {30: FailureKind.HANG}
        assert stage.payload._account.runs == 2

    play(scene, tmp_path, {"hang": [30]}, limits={"min_time_limit_s": 6.0})


def test_another_spelling_of_the_input_path_is_athenas_death_not_ours(tmp_path):
    async def scene(stage):
        stage.feed(1, pfn=f"{tmp_path}/./EVNT.1.root")
        stage.feed(2, 3)
        await stage.settled(3)
        assert kinds(stage) == {1: FailureKind.CRASH}
        assert "GUID" in stage.failed[1].message

    play(scene, tmp_path, cores=1)


def test_a_path_athenamp_would_misread_fails_by_itself(tmp_path):
    async def scene(stage):
        stage.feed(1, pfn="/in/EVNT,1.root")
        stage.feed(2)
        await stage.settled(2)
        assert kinds(stage) == {1: FailureKind.REPORTED}
        assert "comma" in stage.failed[1].message

    play(scene, tmp_path)


def test_in_caching_mode_nothing_changes(tmp_path):
    async def scene(stage):
        stage.feed(*range(1, 21))
        await stage.settled(20)
        assert kinds(stage) == {4: FailureKind.REPORTED, 9: FailureKind.CRASH}

    play(scene, tmp_path, {"caching": True, "seek": [4], "crash": [9]})


CONTAINERS = {
    "setup": {"setup": ['test -n "$ATHENA_PROC_NUMBER" || exit 9']},
    "apptainer": {"engine": "apptainer", "image": "el9.sif", "binds": ["/cvmfs"]},
    "shifter": {"engine": "shifter", "options": ["--module=cvmfs"]},
    "alrb": {"engine": "alrb", "image": "el9", "alrb_base": "ALRB", "options": ["--cleanenv"]},
}
FAKE_ENGINE = '#!/bin/bash\nwhile [ "$1" != /bin/bash ]; do shift; done\nexec "$@"\n'
FAKE_ALRB = 'while [ $# -gt 0 ]; do if [ "$1" = -r ]; then eval "$2"; fi; shift; done\n'


@pytest.mark.parametrize("name", CONTAINERS)
def test_it_runs_with_a_release_set_up_and_in_containers(tmp_path, name):
    """The engines are programs that do what the real ones do with the command behind the image."""
    programs = tmp_path / "a b"
    (programs / "user").mkdir(parents=True)
    for engine in ("apptainer", "shifter"):
        (programs / engine).write_text(FAKE_ENGINE)
        (programs / engine).chmod(0o755)
    (programs / "user" / "atlasLocalSetup.sh").write_text(FAKE_ALRB)
    container = {key: str(programs) if value == "ALRB" else value for key, value in CONTAINERS[name].items()}

    async def scene(stage):
        stage.feed(1, 2, 3)
        await stage.settled(3)
        assert stage.failed == {}

    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    play(scene, tmp_path, container=container, environment={"PATH": path})


DOOMED = """
import asyncio, os, pathlib, signal, sys
sys.path[:0] = [{here!r}, {python!r}]
from athenamp_kit import stage
from raythena.runtime.process_guard_main import descendants

async def doomed(directory):
    async with stage(directory, {{"hang": [1, 2]}}) as place:
        place.feed(1, 2)
        await place.until(lambda: place.started == {{1, 2}})
        (directory / "running").write_text(" ".join(map(str, descendants(os.getpid()))))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(doomed(pathlib.Path({directory!r})))
"""


def test_nothing_outlives_the_agent(tmp_path):
    """The agent is killed while events run: AthenaMP with all its processes is gone soon after."""
    text = DOOMED.format(here=str(Path(__file__).parent), python=str(STAND_INS / "python"), directory=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == -signal.SIGKILL
    running = {int(word) for word in (tmp_path / "running").read_text().split()}
    assert len(running) >= 5
    deadline = time.monotonic() + PATIENCE_S
    while running & {pid for pid, _ in living_processes()}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_yampl_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yampl", None)
    with pytest.raises(PayloadError, match=r"not on PyPI: build python-yampl .* `yampl_path`"):
        play(None, tmp_path)


def test_a_program_that_is_not_there_is_told_at_the_start(tmp_path):
    with pytest.raises(PayloadError, match="no such program"):
        play(None, tmp_path, command=["/no/such/Sim_tf.py", "--eventService=True"])


def panda_context(directory, lfns):
    """A job of PanDA's with two inputs, as a node's payload gets it."""
    guids = [write_evnt(directory / lfn, range(1 + 100 * n, 11 + 100 * n)) for n, lfn in enumerate(lfns)]
    document = {
        "PandaID": 7,
        "transformation": str(STAND_INS / "bin" / "Sim_tf.py"),
        "jobPars": f"--CA --inputEVNTFile={','.join(lfns)} --outputHITSFile=HITS.[1,2].root --preExec 'a = \"b c\"'",
        "inFiles": ",".join(lfns),
        "GUID": ",".join(guids),
        "inFilePaths": ",".join(str(directory / lfn) for lfn in lfns),
        "outFiles": "HITS.1.root,HITS.2.root",
        "nEventsPerInputFile": 10,
        "esmergeSpec": {"nEventsPerOutputFile": 10},
    }
    place = FieldPath("job", "", document)
    job = to_job(parse_panda_job(place), PayloadSpec("athenamp"), MergeSpec("root"), place=place)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    options = {"yampl_path": str(STAND_INS / "python"), "environment": {"PATH": path}}
    return PayloadContext("n.1", 2, directory / "scratch", options, "job", directory / "logs", job=job), guids


def test_the_command_of_a_panda_job_is_derived_from_it(tmp_path):
    lfns = ["EVNT.1.root", "EVNT.2.root"]
    context, guids = panda_context(tmp_path, lfns)

    async def run():
        payload = AthenaMPPayload()
        await payload.start(context)
        try:
            ranges = [numbered(tmp_path / lfns[n // 10], guids[n // 10], n % 10 + 1) for n in range(20)]
            payload.feed([LeasedRange(n, one) for n, one in enumerate(ranges)])
            found = {}
            while len(found) < 20:
                for outcome in await payload.poll(5.0):
                    if isinstance(outcome, Done):
                        found[outcome.index] = event_number(outcome.path)
            return found
        finally:
            await payload.stop()

    assert asyncio.run(run()) == {n: 1 + 100 * (n // 10) + n % 10 for n in range(20)}
    catalogue = next((tmp_path / "scratch").rglob("PoolFileCatalog.xml")).read_text()
    assert all(guid in catalogue and str(tmp_path / lfn) in catalogue for guid, lfn in zip(guids, lfns, strict=True))


def test_neither_a_command_nor_a_job_of_pandas(tmp_path):
    context = PayloadContext("n", 1, tmp_path / "s", {"yampl_path": str(STAND_INS / "python")}, "job", tmp_path / "logs")
    with pytest.raises(InvalidInput, match="Only a job of PanDA's"):
        asyncio.run(AthenaMPPayload().start(context))


def test_a_scratch_directory_with_a_comma_is_refused(tmp_path):
    (tmp_path / "a,b").mkdir()
    with pytest.raises(PayloadError, match="comma"):
        play(None, tmp_path / "a,b")


def test_without_a_job_number_no_transform_is_started_again(tmp_path):
    """The first start takes the last number; when it has died there is none for the next."""
    numbers = JobNumbers()
    for _ in range(STARTS - 1):
        numbers.take()

    async def scene(stage):
        stage.feed(*range(1, 9))
        with pytest.raises(NumbersExhausted):
            await stage.until(lambda: False)
        assert len(list(stage.scratch.glob("athenamp-*"))) == 1

    play(scene, tmp_path, {"die": [3], "event_s": 0.01}, limits={"numbers": numbers})
