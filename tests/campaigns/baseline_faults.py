"""The faults the original Raythena was measured with, one after the other, on real local clusters of this one.

4,000 events that sleep 200 ms each, on 4 logical nodes with 8 cores. Each row is one job (two commands where the first one is
killed) in which one thing goes wrong. Afterwards every byte of the merged outputs is accounted for: each event is there once, or
is recorded as failed and missing for that reason. Prints a table in Markdown beside what was measured with the original. The exit
code is 1 if any row lost, doubled or altered an event, ended with another exit code than it should, or left a process behind.

    python tests/campaigns/baseline_faults.py
    python tests/campaigns/baseline_faults.py --only driver
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from tally import begun

from job_kit import Command, ToyJob, eventually, failed_ids, make_job, raythena_processes, subtree
from raythena.domain.errors import ExitCode
from raythena.storage.ledger_format import journal_of
from raythena.testing.synthetic import expected_output

NODES, CORES = 4, 8
OUTPUT_BYTES = 64
LIMIT_S = 600.0
ONE_TO_ONE = ([500] * 8, 500)
MANY_TO_ONE = ([250] * 16, 1000)
ONE_TO_MANY = ([2000] * 2, 500)


@dataclass
class Life:
    """One job in a directory of its own, and the commands that work on it."""

    base: Path
    toy: ToyJob
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    notes: list[str] = field(default_factory=list)

    @property
    def tally(self) -> Path:
        return self.base / "tally"

    def command(self, *options: str) -> Command:
        tally = {"E2E_TALLY": str(self.tally)}
        return Command(self.mark, self.toy, "--cores", str(CORES), *options, nodes=NODES, environment=tally)

    def end(self) -> None:
        for process in raythena_processes(self.mark):
            process.kill()


Act = Callable[[Life, Command], Command]
"""Makes something go wrong while a command runs; returns the command that ends the job."""


@dataclass(frozen=True)
class Case:
    """One fault: its name, what the original did, and what is done to ours."""

    name: str
    original: str
    act: Act
    shape: tuple[list[int], int] = ONE_TO_ONE
    misdeeds: dict[str, Any] = field(default_factory=dict)
    exit_code: ExitCode = ExitCode.OK
    listed: int = 0
    """Events that must be recorded as failed."""
    disk: str = ""
    """Size of a file system of its own for the task directory."""


@dataclass
class Outcome:
    """What became of a job: counts of events."""

    exit_code: int = -1
    missing: int = 0
    """In no output and not recorded as failed."""
    twice: int = 0
    wrong: int = 0
    """Altered, or where they do not belong."""
    listed: int = 0
    redone: int = 0
    took_s: float = 0.0
    notes: str = ""
    problem: str = ""
    skipped: bool = False

    def faults(self, case: Case) -> str:
        """What should not be; empty for nothing."""
        if self.problem or self.skipped:
            return self.problem
        if self.missing or self.twice or self.wrong:
            return f"{self.missing} missing, {self.twice} twice, {self.wrong} wrong"
        if (self.exit_code, self.listed) != (int(case.exit_code), case.listed):
            return f"exit code {self.exit_code} and {self.listed} events recorded as failed"
        return ""


# ---- what goes wrong


def until(command: Command, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Wait for a state of the job, for as long as a busy machine may take to start a cluster."""

    def asked() -> dict[str, Any] | None:
        assert command.running, f"the command ended before: {what}\n{command.errors}"
        progress = command.last_progress()
        return progress if progress and condition(progress) else None

    found: dict[str, Any] = eventually(asked, what, LIMIT_S)
    return found


def until_finished(command: Command, events: int) -> None:
    until(command, lambda progress: progress["stored"] + progress["merged"] >= events, f"{events} events committed")


def nothing(life: Life, command: Command) -> Command:
    return command


def kill_an_agent(life: Life, command: Command) -> Command:
    until_finished(command, 1000)
    command.find("agent")[0].kill()
    return command


def kill_a_node(life: Life, command: Command) -> Command:
    until_finished(command, 1000)
    coordinator = command.find("coordinator")[0]
    nodes = [subtree(life.mark, raylet) for raylet in command.find("raylet")]
    for process in next(below for below in nodes if coordinator not in below):
        process.kill()
    return command


def kill_a_payload(life: Life, command: Command) -> Command:
    until_finished(command, 1000)
    for process in reversed(subtree(life.mark, command.find("zygote")[0])):
        process.kill()
    return command


def remove_a_stored_output(life: Life, command: Command) -> Command:
    until_finished(command, 1000)
    groups: list[Path] = eventually(lambda: list((life.toy.task / "staging").rglob("*.zip")), "a group")
    groups[0].unlink(missing_ok=True)
    return command


def fill_the_disk(life: Life, command: Command) -> Command:
    until_finished(command, 1000)
    ballast = life.toy.task / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 512, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    told = until(command, lambda progress: "disk refuses" in progress["message"], "the job says that the disk is full")
    life.notes.append(f'told: "{told["message"][:40]}…"')
    time.sleep(5.0)
    ballast.unlink()
    return command


def killed_at(finished: int, spoil: Callable[[Life], None] = lambda life: None) -> Act:
    """The command is killed, something may be spoilt, and the task is begun again with --resume."""

    def act(life: Life, command: Command) -> Command:
        until_finished(command, finished)
        command.process.kill()
        command.wait(LIMIT_S)
        eventually(lambda: not raythena_processes(life.mark), "no process left")
        committed = len(life.toy.committed())
        life.notes.append(f"{committed:,} were committed")
        spoil(life)
        return life.command("--resume")

    return act


def spoil_status(life: Life) -> None:
    """Half a status, and good and bad temporary files beside it, the ledger and the groups."""
    task = life.toy.task
    content = (task / "status.json").read_bytes()
    (task / ".status.json.0123.part").write_bytes(content)
    (task / "status.json").write_bytes(content[: len(content) // 2])
    (task / ".ledger.sqlite.0123.part").write_bytes(task.joinpath("ledger.sqlite").read_bytes()[:5000])
    for group in list((task / "staging").rglob("*.zip"))[:1]:
        group.with_name(f".{group.name}.0123.part").write_bytes(group.read_bytes()[:100])


def tear_journal(life: Life) -> None:
    """The last write to the ledger's journal is torn."""
    spoil_status(life)
    journal = journal_of(life.toy.task / "ledger.sqlite")
    with journal.open("r+b") as stream:
        stream.truncate(journal.stat().st_size - 3000)


def run_again(life: Life, command: Command) -> Command:
    assert command.wait(LIMIT_S) == ExitCode.OK, command.errors
    before = life.toy.contents()
    again = life.command()
    life.notes.append(f"a second run is refused (exit {again.wait(LIMIT_S)})")
    resumed = life.command("--resume")
    resumed.wait(LIMIT_S)
    assert life.toy.contents() == before
    life.notes.append("--resume finds nothing to do")
    return resumed


ONE_BAD = {"fail": ["f1.evnt-137"]}
CASES = (
    Case("nothing", "exit 0, 76 s", nothing),
    Case("`kill -9` of an actor process", "exit 1, 500 missing, no job report", kill_an_agent),
    Case("`kill -9` of a node", "never ends, 500 missing", kill_a_node),
    Case("port 8080 is busy", "never ends, 500 missing", nothing),
    Case(
        "one output file missing, noticed at once", "exit 0, 500 missing, no job report", nothing,
        misdeeds={"bad_output": ["f1.evnt-137"], "attempts_to_fail": 1},
    ),
    Case("one output file missing, noticed when merging", "the same", remove_a_stored_output),
    Case(
        "one event fails, N→1", "exit 0, 500 good events thrown away, no job report", nothing,
        MANY_TO_ONE, ONE_BAD, ExitCode.INCOMPLETE, 1,
    ),
    Case(
        "one event fails, 1→N", "exit 0, 1,000 good events thrown away, no job report", nothing,
        ONE_TO_MANY, ONE_BAD, ExitCode.INCOMPLETE, 1,
    ),
    Case("payload crash on one node", "recovered, 4 redone", kill_a_payload),
    Case("state file truncated, a good temporary one beside it", "refuses to start", killed_at(2000, spoil_status)),
    Case("disk full while state is saved", "update lost, nobody told", fill_the_disk, disk="24m"),
    Case(
        "one range fails whose neighbour was simulated", "the thread that saves state dies silently", nothing,
        misdeeds=ONE_BAD, exit_code=ExitCode.INCOMPLETE, listed=1,
    ),
    Case(
        "`kill -9` of the driver at half time, started again", "exit 0, 2,696 simulated again, 2,500 TWICE, no job report",
        killed_at(2000),
    ),
    Case("the same, late", "exit 0, 1,912 simulated again, 2,000 TWICE", killed_at(3400)),
    Case("the same, the last write of state torn", "refuses, 2,000 missing, exit 0", killed_at(2000, tear_journal)),
    Case("finished task run again under the same names, 1→N", "exit 0, 2,000 events gone", run_again, ONE_TO_MANY),
)  # fmt: skip


# ---- running and judging


def prepared(base: Path, case: Case) -> Life:
    """The job of a case, not begun."""
    (base / "attempts").mkdir(parents=True)
    behaviour = {"wall_s": 0.2, "output_bytes": OUTPUT_BYTES, "as_file": True, **case.misdeeds}
    if "attempts_to_fail" in behaviour:
        behaviour["attempts_dir"] = str(base / "attempts")
    here = [str(Path(__file__).parent)]
    payload = {
        "python": "tallied_synthetic:process",
        "setup": "tallied_synthetic:setup",
        "path": here,
        "options": behaviour,
    }
    return Life(base, make_job(base, *case.shape, payload=payload))


def run(case: Case, base: Path) -> Outcome:
    """One job with its fault, and what became of every event."""
    life = prepared(base, case)
    outcome = Outcome()
    began = time.monotonic()
    try:
        if case.disk:
            life.toy.task.mkdir()
            mount(life.toy.task, case.disk)
        command = case.act(life, life.command())
        outcome.exit_code = command.wait(LIMIT_S)
        outcome.took_s = time.monotonic() - began
        judge(life, outcome)
    except PermissionError as problem:
        outcome.skipped = True
        life.notes.append(f"not tried: {problem}")
    except Exception as problem:  # noqa: BLE001 (whatever went wrong is this row's verdict, the others go on)
        outcome.problem = f"{type(problem).__name__}: {problem}"
    finally:
        outcome.notes = "; ".join(life.notes)
        life.end()
        if case.disk:
            subprocess.run(["umount", "--lazy", life.toy.task], check=False, capture_output=True)
    return outcome


def mount(place: Path, size: str) -> None:
    """A small file system of its own. Raises PermissionError when none may be mounted here."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise PermissionError(f"no file system may be mounted here: {done.stderr.strip()}")


def judge(life: Life, outcome: Outcome) -> None:
    """Account for every event and every byte of the outputs."""
    if left := raythena_processes(life.mark):
        raise AssertionError(f"left behind: {left[0].command}")
    toy = life.toy
    where = {one: lfn for lfn, content in toy.expected().items() for one in ids_in(content)}
    found: Counter[str] = Counter()
    for lfn, content in toy.contents().items():
        for one in ids_in(content):
            found[one] += 1
            outcome.wrong += where.get(one) != lfn
    failed = failed_ids(toy)
    tally = begun(life.tally)
    outcome.listed = len(failed)
    outcome.missing = len(where.keys() - found.keys() - failed.keys())
    outcome.twice = sum(count > 1 for count in found.values())
    outcome.wrong += len(found.keys() & failed.keys())
    outcome.redone = len(tally) - len(set(tally))
    if not (outcome.missing or outcome.twice or outcome.wrong) and toy.contents() != toy.expected(without=failed.keys()):
        raise AssertionError("the outputs are not in the order of their events")
    if toy.report()["exitCode"] != outcome.exit_code:
        raise AssertionError("the job report says something else")


def ids_in(content: bytes) -> Iterator[str]:
    """The events whose outputs are in a merged file; "?" for what is the output of none."""
    for start in range(0, len(content), OUTPUT_BYTES):
        record = content[start : start + OUTPUT_BYTES]
        one = record.partition(b"\n")[0].decode(errors="replace")
        yield one if record == expected_output(one, OUTPUT_BYTES) else "?"


def row(case: Case, outcome: Outcome) -> str:
    """One line of the table."""
    ours = ("" if outcome.skipped else f"exit {outcome.exit_code}") + (
        f", {outcome.listed} recorded as failed" if outcome.listed else ""
    )
    ours += f"; {outcome.notes}" if outcome.notes else ""
    counts = f"{outcome.missing} | {outcome.twice} | {outcome.redone} | {outcome.took_s:.0f}"
    return f"| {case.name} | {case.original} | {ours} | {counts} |"


def main() -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only faults with this in their name")
    options = parser.parse_args()
    print("| fault | original | this one | missing | twice | begun again | s |\n|---|---|---|---|---|---|---|", flush=True)
    problems = []
    with socket.socket() as port:
        try:
            port.bind(("", 8080))
            port.listen()
        except OSError:
            pass  # somebody else's: busy all the same, for every row
        for number, case in enumerate(case for case in CASES if options.only in case.name):
            base = Path(tempfile.mkdtemp(prefix=f"raythena-fault-{number}-"))
            outcome = run(case, base)
            print(row(case, outcome), flush=True)
            if fault := outcome.faults(case):
                problems.append(f"{case.name}: {fault} ({base})")
            else:
                shutil.rmtree(base)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
