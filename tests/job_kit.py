"""What tests of whole jobs share: jobs whose outputs are known beforehand, clusters, commands, and processes to kill.

A process is found by a mark in its environment, which every process of a run inherits from whoever started the run, and told
from the others by its command line.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from raythena.cli.session import prepare_task, session_config
from raythena.cli.settings import Settings
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.progress import Progress
from raythena.domain.ranges import RangeLayout
from raythena.gateways.file import load_job
from raythena.launch.local import LocalCluster
from raythena.launch.processes import ProcessNodes
from raythena.runtime.driver import Session
from raythena.runtime.process_guard_main import living_processes
from raythena.runtime.session_config import SessionConfig
from raythena.runtime.session_end import SessionResult
from raythena.storage.ledger_view import LedgerSummary, LedgerView
from raythena.testing.synthetic import expected_output

MARK = "E2E_MARK"
PATIENCE_S = 180.0
RAYTHENA = (sys.executable, "-c", "from raythena.cli import main; main()")

# ---- processes


@dataclass(frozen=True)
class Process:
    """One process of a run."""

    pid: int
    parent: int
    command: str
    name: str = ""
    """What it calls itself."""

    def kill(self, number: int = signal.SIGKILL) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return


def raythena_processes(mark: str) -> list[Process]:
    """Everything alive that was started, by whomever, below something with this mark."""
    wanted = f"{MARK}={mark}".encode()
    return [
        Process(pid, parent, _command(pid), _name(pid)) for pid, parent in living_processes() if wanted in _read(pid, "environ")
    ]


def _command(pid: int) -> str:
    return b" ".join(_read(pid, "cmdline")).decode(errors="replace").strip()


def _name(pid: int) -> str:
    return b"".join(_read(pid, "comm")).decode(errors="replace").strip()


def _read(pid: int, name: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")
    except OSError:
        return []


ROLES: dict[str, Callable[[Process, dict[int, Process]], bool]] = {
    "coordinator": lambda one, _: one.name == "rt-coordinator" or one.command.startswith("ray::CoordinatorActor"),
    "agent": lambda one, _: one.name == "rt-agent" or one.command.startswith("ray::NodeAgentActor"),
    "merge": lambda one, _: one.name == "rt-merge" or one.command.startswith("ray::merge_output"),
    "raylet": lambda one, _: "/raylet/raylet " in one.command,
    "head": lambda one, _: one.name == "rt-fork-server" or "/gcs/gcs_server " in one.command,
    "zygote": lambda one, all_: _is_zygote(one) and not _is_zygote(all_.get(one.parent)),
    "worker": lambda one, all_: _is_zygote(one) and _is_zygote(all_.get(one.parent)),
    "guard": lambda one, all_: "process_guard_main.py" in one.command and ROLES["agent"](all_.get(one.parent, _NOBODY), all_),
    "payload": lambda one, _: "event_loop" in one.command or "raythena.payloads" in one.command,
}
_NOBODY = Process(0, 0, "")


def _is_zygote(one: Process | None) -> bool:
    return one is not None and "raythena.payloads.workers.zygote" in one.command


def find(mark: str, role: str) -> list[Process]:
    """The living processes of a run with that role."""
    processes = {process.pid: process for process in raythena_processes(mark)}
    return [process for process in processes.values() if ROLES[role](process, processes)]


def subtree(mark: str, root: Process) -> list[Process]:
    """A process and everything below it."""
    processes = raythena_processes(mark)
    found = [root]
    for parent in found:
        found.extend(process for process in processes if process.parent == parent.pid)
    return found


def eventually(condition: Callable[[], Any], what: str, limit_s: float = PATIENCE_S, pause_s: float = 0.05) -> Any:
    """Wait until `condition()` is true; its value."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(pause_s)
    return value


# ---- jobs


@dataclass(frozen=True)
class ToyJob:
    """A job file in a directory of its own, and the task it makes."""

    path: Path
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "job", load_job(self.path))

    @property
    def task(self) -> Path:
        return self.path.parent / "task"

    @property
    def scratch(self) -> Path:
        return self.path.parent / "scratch"

    def contents(self) -> dict[str, bytes]:
        """What is in the merged outputs."""
        return {path.name: path.read_bytes() for path in sorted((self.task / "outputs").iterdir()) if path.is_file()}

    def expected(self, without: frozenset[str] | set[str] = frozenset()) -> dict[str, bytes]:
        """What must be in the merged outputs when the events `without` have failed."""
        layout = RangeLayout(self.job.inputs)
        outputs = OutputMap.plan([file.n_events for file in self.job.inputs], self.job.events_per_output)
        size = self.job.payload.options.get("options", {}).get("output_bytes", 64)
        contents = {}
        for number, lfn in enumerate(self.job.outputs):
            ids = (layout.range_id(index) for index in range(*outputs.interval(number)))
            contents[lfn] = b"".join(expected_output(one, size) for one in ids if one not in without)
        return contents

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.task / "jobReport.json").read_text())
        return document

    def summary(self) -> LedgerSummary:
        with LedgerView.read(self.task / "ledger.sqlite") as ledger:
            return ledger.summary()

    def committed(self) -> dict[int, int]:
        """Session by which each range was committed; fails when one was committed twice."""
        by_range: dict[int, int] = {}
        with LedgerView.read(self.task / "ledger.sqlite") as ledger:
            for chunk in ledger.iter_events():
                for index, session in zip(chunk.events["range"].tolist(), chunk.events["session"].tolist(), strict=True):
                    assert index not in by_range, f"range {index} was committed twice"
                    by_range[index] = session
        return by_range

    def assert_complete(self, *, scratch_lost: bool = False) -> None:
        """Every event is where it belongs, once, and nothing else is there; `scratch_lost`: a node went with its own disk."""
        assert self.contents() == self.expected()
        assert sorted(self.committed()) == list(range(self.job.n_events))
        self.assert_tidy(scratch_lost=scratch_lost)
        assert self.report()["exitCode"] == 0

    def assert_tidy(self, *, scratch_lost: bool = False) -> None:
        """Nothing is left of what was only needed on the way."""
        with LedgerView.read(self.task / "ledger.sqlite") as ledger:
            kept = sorted(self.task / group.path for group in ledger.restore().groups)
        assert sorted(path for path in (self.task / "staging").rglob("*") if path.is_file()) == kept
        assert sorted(path.name for path in (self.task / "outputs").iterdir()) == sorted(self.job.promised)
        assert not (self.task / "coordinator.lease").exists()
        assert scratch_lost or not self.scratch.exists() or list(self.scratch.iterdir()) == []


def make_job(
    directory: Path,
    inputs: list[int],
    events_per_file: int,
    options: dict[str, Any] | None = None,
    *,
    payload: dict[str, Any] | None = None,
    merge: Any = "concat",
) -> ToyJob:
    """A job of synthetic events; `options` are those of `raythena.testing.synthetic`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "scratch").mkdir(exist_ok=True)
    files = []
    for number, events in enumerate(inputs, start=1):
        (directory / f"f{number}.evnt").write_bytes(b"events")
        files.append({"path": f"f{number}.evnt", "events": events})
    synthetic = "raythena.testing.synthetic"
    document = {
        "name": "toy",
        "inputs": files,
        "outputs": {"events_per_file": events_per_file, "name": "OUT.{n:04d}.bin"},
        "payload": payload or {"python": f"{synthetic}:process", "setup": f"{synthetic}:setup", "options": options or {}},
        "merge": merge,
    }
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return ToyJob(path)


# ---- a cluster for many sessions


class _OwnLoop:
    """An event loop in a thread, for a test that has none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)


class SharedCluster:
    """A `LocalCluster` for many sessions; this process is its driver."""

    def __init__(self, nodes: int, cores: int) -> None:
        self.mark = uuid.uuid4().hex
        self._loop = _OwnLoop()
        self._cluster = LocalCluster(nodes, cores)

    def __enter__(self) -> SharedCluster:
        resource_tracker.ensure_running()  # of this process, which outlives the cluster: it is to have no mark
        os.environ[MARK] = self.mark
        self._loop.wait(self._cluster.start())
        self._loop.wait(self._cluster.add_nodes())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.wait(self._cluster.stop())
        self._loop.close()
        os.environ.pop(MARK, None)
        left = raythena_processes(self.mark)
        assert not left, f"left behind: {left}"

    def add_node(self) -> None:
        """Start one more node."""
        self._loop.wait(self._cluster.add_node())

    def begin(self, config: SessionConfig) -> Session:
        return self._cluster.session(config)

    def clear(self, config: SessionConfig) -> None:
        """End what is left of a session."""
        import ray

        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == config.namespace:
                ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))

    def session(self, toy: ToyJob, *, resume: bool = False, **settings: Any) -> LiveSession:
        """Begin a session. Settings are `group__name=value`."""
        return LiveSession(self, toy, settings, resume=resume)

    def run(self, toy: ToyJob, *, resume: bool = False, **settings: Any) -> SessionResult:
        """A session from its beginning to its end."""
        with self.session(toy, resume=resume, **settings) as session:
            return session.end()


class Processes:
    """Sessions on nodes that are processes of this machine: the same as `SharedCluster`, without Ray."""

    def __init__(self, nodes: int, cores: int) -> None:
        self.mark = uuid.uuid4().hex
        self._size = nodes, cores
        self._loop = _OwnLoop()
        self._running: dict[str, ProcessNodes] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.close()
        left = raythena_processes(self.mark)
        assert not left, f"left behind: {left}"

    def begin(self, config: SessionConfig) -> Session:
        """A session with nodes of its own: they are soon there."""
        nodes = self._running[config.session] = ProcessNodes(*self._size)
        os.environ[MARK] = self.mark
        try:
            self._loop.wait(nodes.start())
        finally:
            os.environ.pop(MARK, None)
        return nodes.session(config)

    def clear(self, config: SessionConfig) -> None:
        """End what is left of a session."""
        if nodes := self._running.pop(config.session, None):
            self._loop.wait(nodes.stop())

    session = SharedCluster.session
    run = SharedCluster.run


class LiveSession:
    """A session on a cluster. Leaves no actor and no process of its own."""

    def __init__(self, cluster: SharedCluster | Processes, toy: ToyJob, settings: dict[str, Any], *, resume: bool) -> None:
        tree: dict[str, dict[str, Any]] = {"runtime": {"scratch_dir": str(toy.scratch), "group_age_s": 0.5}}
        for name, value in settings.items():
            group, _, key = name.partition("__")
            tree.setdefault(group, {})[key] = value
        self.config = session_config(toy.job, prepare_task(toy.job, toy.task, resume=resume), Settings.model_validate(tree))
        self._cluster = cluster
        self.mark = cluster.mark
        self.toy = toy
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        assert self._session is not None, "not begun yet"
        return self._session

    def change(self, **fields: Any) -> None:
        """Replace fields of the session's configuration, before it starts."""
        self.config = replace(self.config, **fields)

    def __enter__(self) -> LiveSession:
        try:
            self._session = self._cluster.begin(self.config)
            self._session.start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _clear(self) -> None:
        self._cluster.clear(self.config)
        eventually(
            lambda: not any(self.find(role) for role in ("coordinator", "agent", "guard", "payload")), "a clean cluster", 20
        )

    def find(self, role: str) -> list[Process]:
        return find(self.mark, role)

    def one(self, role: str) -> Process:
        """Some living process of that role, waited for."""
        found: list[Process] = eventually(lambda: self.find(role), f"a {role}", pause_s=0.02)
        return found[0]

    def progress(self) -> Progress | None:
        return self.session.progress()

    def until(self, condition: Callable[[Progress], bool], what: str, limit_s: float = PATIENCE_S) -> Progress:
        """Wait for a state of the job."""

        def asked() -> Progress | None:
            progress = self.progress()
            assert progress is None or progress.phase != "ended", f"the job ended before: {what}"
            return progress if progress is not None and condition(progress) else None

        found: Progress = eventually(asked, what, limit_s)
        return found

    def until_finished(self, events: int) -> Progress:
        """Wait until so many events are committed."""
        return self.until(lambda progress: progress.finished >= events, f"{events} events committed")

    def end(self, limit_s: float = PATIENCE_S) -> SessionResult:
        """Wait for the end of the job."""
        eventually(lambda: self.session.has_ended(0.1), "the end of the job", limit_s, pause_s=0.0)
        result = self.session.result()
        eventually(lambda: not any(self.find(role) for role in ("agent", "guard", "payload")), "agents and payloads gone", 10.0)
        return result

    def log(self) -> str:
        """What the coordinator wrote."""
        return (self.toy.task / "logs" / self.config.session / "coordinator.log").read_text()


# ---- the command itself


class Command:
    """`raythena run` as a process of its own, with its own cluster."""

    def __init__(self, mark: str, toy: ToyJob, *options: str, nodes: int = 2, environment: dict[str, str] | None = None) -> None:
        self.mark = mark
        self._base = toy.path.parent / f"command-{uuid.uuid4().hex[:6]}"
        argv = [*RAYTHENA, "run", str(toy.path), "--taskdir", str(toy.task), "--json", "--nodes", str(nodes)]
        argv += ["--set", f"runtime.scratch_dir={toy.scratch}", "--set", "runtime.group_age_s=0.5", *options]
        surroundings = {**os.environ, **(environment or {}), MARK: mark}
        with self._base.with_suffix(".out").open("wb") as out, self._base.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                argv, stdout=out, stderr=err, env=surroundings, cwd=toy.path.parent, start_new_session=True
            )

    @property
    def process(self) -> Process:
        return Process(self._process.pid, os.getpid(), "raythena run")

    def find(self, role: str) -> list[Process]:
        return find(self.mark, role)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, limit_s: float = PATIENCE_S) -> int:
        return self._process.wait(limit_s)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The whole lines of JSON printed so far."""
        for line in self._base.with_suffix(".out").read_text().split("\n")[:-1]:
            yield json.loads(line)

    @property
    def errors(self) -> str:
        return self._base.with_suffix(".err").read_text()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def last_progress(self) -> dict[str, Any]:
        found = [line for line in self.lines() if line.get("type") == "progress"]
        return found[-1] if found else {}

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait for a state of the job, as the command shows it."""

        def asked() -> dict[str, Any] | None:
            assert self.running, f"the command ended before: {what}\n{self.errors}"
            progress = self.last_progress()
            return progress if progress and condition(progress) else None

        found: dict[str, Any] = eventually(asked, what)
        return found

    def until_finished(self, events: int) -> dict[str, Any]:
        return self.until(lambda progress: progress["stored"] + progress["merged"] >= events, f"{events} events committed")


def failed_ids(toy: ToyJob) -> dict[str, str]:
    """Kind of failure by the id of the range, of those the ledger calls final."""
    layout = RangeLayout(toy.job.inputs)
    with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
        return {layout.range_id(failure.range_index): str(failure.kind) for failure in ledger.failures() if failure.final}


def attempts(toy: ToyJob) -> dict[int, int]:
    """Failed attempts by range."""
    with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
        indices, counts = np.unique([failure.range_index for failure in ledger.failures()], return_counts=True)
    return dict(zip(indices.tolist(), counts.tolist(), strict=True))
