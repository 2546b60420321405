"""`kill -9` at random moments of real jobs under load, and proof that nothing was lost, repeated or changed.

Four raylets on this machine compute the demo's simulation, merging all the while. A *strike* kills one thing at a random moment:
a payload's worker; the whole payload (its zygote and so all its workers); an agent; a node (its raylet and everything below it,
as when the power fails; another node is started in its place); the coordinator; the command that started it all, with the
cluster, which is then resumed. An agent, or a whole node, may also be frozen for good instead (SIGSTOP), which nobody is told.
Several strikes fall into one job. Each job must come to its end, and every number of every event in its merged ROOT files is
compared with a job that nobody disturbed. Moments and victims are drawn from a seed.

What a strike has cost is read from the disk afterwards (`evidence`): how long it took until the last of the lost events was begun
again on a core, how long a killed coordinator kept the nodes waiting for its first lease, how many events were begun again.

The exit code is 1 if anything was lost, repeated, changed or left behind, or a job did not end well.

    python tests/campaigns/kills.py --strikes 10 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from evidence import begun_again, begun_by, begun_last, first_line, read_tally

from job_kit import ROLES, Command, LiveSession, Process, SharedCluster, ToyJob, eventually, find, raythena_processes, subtree
from raythena.demo.reference import compare
from raythena.demo.workload import prepare_demo
from raythena.domain.errors import ExitCode
from raythena.domain.job import Job
from raythena.domain.progress import Progress
from raythena.validation import validate

TARGETS = ("worker", "payload", "agent", "frozen-agent", "node", "frozen-node", "coordinator", "command")
SLOW_STRIKES = 2
"""The most strikes of a kind that is only noticed by silence."""
NODES = 4
STRIKES_PER_JOB = 10
AGENTS_PER_JOB = 5
"""A node whose agent dies five times in a minute is not used any more; victims are drawn from four nodes."""
PAUSE_S = (0.5, 3.0)
"""A strike falls so long after everything has recovered from the one before."""
LIMIT_S = 240.0
GROUP_AGE_S = 0.5


@dataclass
class Strike:
    """One kill and what came of it."""

    target: str
    job: int
    at: float
    pids: tuple[int, ...]
    finished: int
    """Events safe at that moment."""
    merging: int
    redone: int = 0
    """Events that were begun before and had to be begun again."""
    again_s: float | None = None
    """Until the last of them was; None: there was none."""
    lease_s: float | None = None
    """Until a new coordinator gave out work."""
    noticed_s: float | None = None
    """Until the coordinator gave the node up."""

    def row(self) -> str:
        """One line of the table."""
        return (
            f"{self.target:<12}  {self.job:>3}  {self.finished:>8}  {self.merging:>7}  {self.redone:>6}  "
            f"{_seconds(self.noticed_s):>9}  "
            f"{_seconds(self.again_s):>11}  {_seconds(self.lease_s):>11}"
        )


HEADER = "target        job  finished  merging  redone  noticed/s  all again/s  new lease/s"


class Failed(Exception):
    """A job did not come out as it must."""


class Campaign:
    """All jobs, and the one they are compared with."""

    def __init__(self, base: Path, options: argparse.Namespace) -> None:
        self._base = base
        self._strikes: int = options.strikes
        self._random = random.Random(options.seed)
        per_output = options.events // 16
        self._demo = prepare_demo(
            base / "evnt", events=options.events, files=8, events_per_output=per_output, seed=20240611, pileup=options.pileup
        )
        self._reference: list[Path] = []
        self._jobs = 0
        self._tally = base / "tally"
        os.environ["E2E_TALLY"] = str(self._tally)

    def run(self, targets: list[str]) -> Iterator[Strike]:
        """Every strike, with its figures, job by job. Raises Failed."""
        shared = [target for target in targets if target != "command"]
        with SharedCluster(nodes=NODES, cores=1) as cluster:
            self._run_reference(cluster)
            for target in shared:
                yield from self._until_enough(target, lambda target, most: self._on_cluster(cluster, target, most))
        if "command" in targets:
            yield from self._until_enough("command", lambda _, most: self._commands(most))

    def _until_enough(self, target: str, run_job: Callable[[str, int], list[Strike]]) -> Iterator[Strike]:
        left = min(self._strikes, SLOW_STRIKES) if target.startswith("frozen-") else self._strikes
        while left > 0:
            strikes = run_job(target, min(left, AGENTS_PER_JOB if target == "agent" else STRIKES_PER_JOB))
            yield from strikes
            left -= len(strikes)

    def _new_job(self) -> ToyJob:
        self._jobs += 1
        base = self._base / f"job-{self._jobs}"
        (base / "scratch").mkdir(parents=True)
        return ToyJob(_job_file(base, self._demo))

    def _run_reference(self, cluster: SharedCluster) -> None:
        toy, began = self._new_job(), time.time()
        with cluster.session(toy, runtime__group_age_s=GROUP_AGE_S) as session:
            result = session.end(LIMIT_S)
        self._reference = _outputs(toy)
        self._judge(toy, result.exit_code, "the undisturbed job")
        events = toy.job.n_events
        begun = len(read_tally(self._tally))
        print(f"undisturbed: {events} events in {time.time() - began:.1f} s, {begun - events} begun twice", flush=True)

    # ---- strikes at parts of a session

    def _on_cluster(self, cluster: SharedCluster, target: str, most: int) -> list[Strike]:
        """A job on the shared cluster with at most so many strikes."""
        toy = self._new_job()
        strikes: list[Strike] = []
        with cluster.session(toy, runtime__group_age_s=GROUP_AGE_S) as session:
            session.until(_all_at_work, "all nodes at work")
            while len(strikes) < most:
                time.sleep(self._random.uniform(*PAUSE_S))
                progress = session.progress()
                if progress is None or not _under_load(progress):
                    break
                strikes.append(self._strike(session, target, progress))
                self._await_recovery(cluster, session, strikes[-1])
                bury(strikes[-1])
            result = session.end(LIMIT_S)
            log = toy.task / "logs" / session.config.session / "coordinator.log"
        self._judge(toy, result.exit_code, f"job {self._jobs}")
        self._measure(strikes, log)
        return strikes

    def _strike(self, session: LiveSession, target: str, progress: Progress) -> Strike:
        victims = self._victims(session, target)
        at = time.time()
        for victim in victims:
            if target != "frozen-agent" or ROLES["agent"](victim, {}):
                victim.kill(signal.SIGSTOP if target.startswith("frozen-") else signal.SIGKILL)
        return Strike(target, self._jobs, at, tuple(one.pid for one in victims), progress.finished, progress.merging)

    def _victims(self, session: LiveSession, target: str) -> list[Process]:
        """What is killed, and everything that dies with it because it is below it."""
        target = target.removeprefix("frozen-")
        if target == "node":
            head = {process.pid for process in subtree(session.mark, _started_by(session.mark, session.one("head")))}
            raylets = [raylet for raylet in session.find("raylet") if raylet.pid not in head]
            return subtree(session.mark, _started_by(session.mark, self._random.choice(raylets)))
        role = "zygote" if target == "payload" else target
        session.one(role)
        return subtree(session.mark, self._random.choice(session.find(role)))

    def _await_recovery(self, cluster: SharedCluster, session: LiveSession, strike: Strike) -> None:
        """Until what was on the victims' cores has been begun again, and all nodes are at work."""
        if strike.target.endswith("node"):
            cluster.add_node()
        elif strike.target == "coordinator":
            log = session.toy.task / "logs" / session.config.session / "coordinator.log"
            eventually(lambda: first_line(log, "first lease", strike.at), "a lease of a new coordinator", LIMIT_S)
        lost = begun_last(read_tally(self._tally), strike.pids, strike.at)

        def recovered() -> bool:
            progress = session.progress()
            if progress is None:
                return False
            again = begun_again(read_tally(self._tally), lost, strike.pids, strike.at)
            settled = len(again) == len(lost) or progress.ready + progress.leased == 0
            return progress.phase == "ended" or (settled and _all_at_work(progress))

        eventually(recovered, f"recovery from the death of a {strike.target}", LIMIT_S, pause_s=0.2)

    def _measure(self, strikes: list[Strike], log: Path) -> None:
        """Fill in what the strikes of one job have cost."""
        begins = read_tally(self._tally)
        for strike in strikes:
            if strike.target == "coordinator":
                leased_at = first_line(log, "first lease", strike.at)
                strike.lease_s = None if leased_at is None else leased_at - strike.at
            elif strike.target not in {"worker", "payload"}:
                noticed_at = first_line(log, " lost: ", strike.at)
                strike.noticed_s = None if noticed_at is None else noticed_at - strike.at
            again = begun_again(begins, begun_by(begins, strike.pids, strike.at), strike.pids, strike.at)
            strike.redone = len(again)
            strike.again_s = max(again.values()) - strike.at if again else None

    # ---- strikes at the command, with its own cluster

    def _commands(self, most: int) -> list[Strike]:
        """A job whose command is killed at most so often, and resumed each time."""
        toy, mark = self._new_job(), uuid.uuid4().hex
        strikes: list[Strike] = []
        options: tuple[str, ...] = ()
        while True:
            command = Command(mark, toy, *options, nodes=NODES)
            options = ("--resume",)
            moment = self._random.uniform(*PAUSE_S)
            if len(strikes) == most or not self._wait_for_moment(command, moment):
                break
            strikes.append(self._kill_command(command, toy))
            eventually(lambda: not raythena_processes(mark), "no process left", 20.0)
        code = command.wait(LIMIT_S)
        if left := raythena_processes(mark):
            raise Failed(f"left behind: {left[0].command}")
        self._judge(toy, ExitCode(code), f"job {self._jobs}")
        self._measure_commands(strikes, toy)
        return strikes

    def _wait_for_moment(self, command: Command, moment_s: float) -> bool:
        """A moment after the first news of computing; False when too little is left to do by then."""
        eventually(lambda: not command.running or _computing(command.last_progress()), "a job at work", LIMIT_S)
        time.sleep(moment_s)
        progress = command.last_progress()
        return command.running and progress["ready"] + progress["leased"] >= 4 * NODES

    def _kill_command(self, command: Command, toy: ToyJob) -> Strike:
        progress = command.last_progress()
        agents = find(command.mark, "worker")
        at = time.time()
        command.process.kill()
        return Strike("command", self._jobs, at, tuple(one.pid for one in agents), len(toy.committed()), progress["merging"])

    def _measure_commands(self, strikes: list[Strike], toy: ToyJob) -> None:
        begins = read_tally(self._tally)
        for strike in strikes:
            again = begun_again(begins, begun_by(begins, strike.pids, strike.at), strike.pids, strike.at)
            strike.redone = len(again)
            strike.again_s = max(again.values()) - strike.at if again else None
            leases = [first_line(log, "first lease", strike.at) for log in (toy.task / "logs").glob("*/coordinator.log")]
            strike.lease_s = min(at for at in leases if at is not None) - strike.at

    # ---- proof

    def _judge(self, toy: ToyJob, code: ExitCode, name: str) -> None:
        """Raises Failed unless every event is in the outputs, once, and the same as without any strike."""
        if code is not ExitCode.OK:
            raise Failed(f"{name} ended with exit code {code}")
        if len(toy.committed()) != toy.job.n_events:
            raise Failed(f"{name}: {len(toy.committed())} events committed instead of {toy.job.n_events}")
        verdict = validate(toy.task)
        if not verdict.ok:
            raise Failed(f"{name} is not valid: {verdict.summary()}")
        if problem := compare(_outputs(toy), self._reference).problem:
            raise Failed(f"{name} differs from the undisturbed one: {problem}")
        toy.assert_tidy(scratch_lost=True)
        if toy.task.parent.name != "job-1":
            shutil.rmtree(toy.task / "outputs")


def bury(strike: Strike) -> None:
    """End what was frozen for good."""
    for pid in strike.pids if strike.target.startswith("frozen-") else ():
        Process(pid, 0, "").kill()


def _outputs(toy: ToyJob) -> list[Path]:
    return [toy.task / "outputs" / lfn for lfn in toy.job.outputs]


def _all_at_work(progress: Progress) -> bool:
    return sum(node.state == "up" and node.finished > 0 for node in progress.nodes) >= NODES


def _under_load(progress: Progress) -> bool:
    """All cores busy, and for some time to come."""
    return progress.phase != "ended" and progress.ready + progress.leased >= 8 * NODES and _all_at_work(progress)


def _computing(progress: dict[str, int]) -> bool:
    """Events have come from all nodes, one each on average, since this session began."""
    return bool(progress) and progress["stored"] + progress["merged"] >= progress["resumed"] + NODES


def _started_by(mark: str, process: Process) -> Process:
    """`ray start` above a process of Ray's."""
    everybody = {one.pid: one for one in raythena_processes(mark)}
    while "raythena.launch.ray_start" not in process.command:
        process = everybody[process.parent]
    return process


def _job_file(base: Path, demo: Job) -> Path:
    tallied = {"python": "tallied:process", "setup": "tallied:setup", "path": [str(Path(__file__).parent)]}
    document = {
        "name": "demo",
        "inputs": [{"path": file.pfn, "events": file.n_events, "guid": file.guid} for file in demo.inputs],
        "outputs": {"events_per_file": demo.events_per_output, "names": list(demo.outputs)},
        "payload": tallied,
        "merge": "root",
    }
    path = base / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def print_summary(strikes: list[Strike]) -> None:
    """Medians and extremes, as a table for the documentation."""
    columns = ("struck", "times", "s until noticed", "s until all was begun again", "s until a new lease", "events redone")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for target in TARGETS:
        mine = [strike for strike in strikes if strike.target == target]
        if mine:
            noticed = _spread([strike.noticed_s for strike in mine if strike.noticed_s is not None])
            again = _spread([strike.again_s for strike in mine if strike.again_s is not None])
            lease = _spread([strike.lease_s for strike in mine if strike.lease_s is not None])
            redone = _spread([float(strike.redone) for strike in mine])
            print(f"| {target} | {len(mine)} | {noticed} | {again} | {lease} | {redone} |")


def main() -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strikes", type=int, default=10, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--pileup", type=float, default=6.0, help="mean number of further collisions in an event: its cost")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--directory", type=Path, help="keep everything here")
    options = parser.parse_args()
    base = options.directory or Path(tempfile.mkdtemp(prefix="raythena-kills-"))
    strikes: list[Strike] = []
    began = time.monotonic()
    try:
        campaign = Campaign(base.absolute(), options)
        print(HEADER, flush=True)
        for strike in campaign.run(options.targets):
            strikes.append(strike)
            print(strike.row(), flush=True)
    except (Failed, AssertionError) as problem:
        print(f"{problem}\nsee {base}")
        return 1
    finally:
        print_summary(strikes)
        load = os.getloadavg()[1]
        print(f"\n{len(strikes)} strikes in {time.monotonic() - began:.0f} s on {os.cpu_count()} cores, load {load:.1f}")
    print("nothing lost, nothing twice, nothing different")
    if options.directory is None:
        shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
