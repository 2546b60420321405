"""A trial by a program: `input.json` in, `output.json` out, intermediate losses as lines of `losses.jsonl`.

The program runs in the directory of its trial, which is all it may write where it is in a container. What it says goes to
`output.log` there; when it fails, the end of that is quoted. It is in the process group of its worker, so that whatever ends the
worker ends the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import psutil

from raythena.domain.container_command import Place, launch
from raythena.domain.document import FieldPath, read_json
from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.scan.trial import MAX_OUTPUT_BYTES, Point, finite, parse_output
from raythena.payloads.container_files import engine_complaint, engine_failed, write_scripts
from raythena.payloads.last_words import end_of
from raythena.payloads.trials.checkpoint_store import CheckpointStore
from raythena.payloads.trials.training_report import TrainingReport
from raythena.payloads.trials.trial_payload import TrialOptions
from raythena.payloads.workers.slot import describe_status

INPUT, OUTPUT, LOSSES, LOG = "input.json", "output.json", "losses.jsonl", "output.log"
_LOOK_S = 0.1
_END_S = 10.0
_QUOTED_BYTES = 2000
_MAX_LOSSES_BYTES = 10_000_000


class TrainingCommand:
    """One run of the program."""

    def __init__(self, options: TrialOptions, home: Path, store: CheckpointStore, report: TrainingReport) -> None:
        self._options = options
        self._home = home
        self._store = store
        self._report = report
        self._read_bytes = 0
        self._kept_at = time.monotonic()

    def run(self, point: Point) -> tuple[dict[str, float], dict[str, object]]:
        """Run it to its end: the objectives and whatever else it wrote. Raises PayloadError, InvalidInput, TrialEnded."""
        (self._home / INPUT).write_text(json.dumps(point.parameters))
        process = self._start(point)
        try:
            while process.poll() is None:
                self._look()
                time.sleep(_LOOK_S)
            self._look()
        finally:
            _end(process)
        if process.returncode:
            raise PayloadError(self._why(process.returncode))
        output = self._home / OUTPUT
        if not output.is_file():
            raise InvalidInput(OUTPUT, "", "was not written", hint=f"The program said last: {self._last_words()}")
        with output.open("rb") as stream:
            read = parse_output(stream.read(MAX_OUTPUT_BYTES + 1), OUTPUT, [each.name for each in self._options.objectives])
        self._keep()  # for whoever uses the best one, or goes on from it
        return read

    def _start(self, point: Point) -> subprocess.Popen[bytes]:
        options, home = self._options, self._home
        told = {"RAYTHENA_POINT": str(point.number), **options.environment}
        plan = launch(options.container, list(options.command), Place(str(home)), told, os.environ)
        write_scripts(home, plan)
        with (home / LOG).open("wb") as log:
            try:
                return subprocess.Popen(
                    plan.argv, env=plan.environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
            except OSError as problem:
                raise PayloadError(f"{plan.argv[0]} could not be started: {problem.strerror}") from problem

    def _look(self) -> None:
        """Read what was reported since, and keep a checkpoint when it is time."""
        for line in self._new_lines():
            place = FieldPath(LOSSES, f"line {len(self._report.reports) + 1}", read_json(line, LOSSES))
            if not isinstance(place.value, dict):
                raise place.refuse("is no object", expected='{"step": 1, "loss": 0.5}')
            name = self._options.objectives[0].name
            step = place.entry("step")
            self._report(finite(place.entry(name)), finite(step) if step.given else None)
        rules = self._options.checkpoint
        if rules.files and time.monotonic() - self._kept_at >= rules.every_s:
            self._kept_at = time.monotonic()
            self._keep()

    def _keep(self) -> None:
        """Keep the files that are named, if all of them are there."""
        names = self._options.checkpoint.files
        found = [self._home / name for name in names if (self._home / name).exists()]
        if names and len(found) == len(names):
            self._store.save(found)

    def _new_lines(self) -> list[str]:
        """Whole lines only: the last one may still be being written."""
        try:
            with (self._home / LOSSES).open("rb") as stream:
                stream.seek(self._read_bytes)
                content = stream.read(_MAX_LOSSES_BYTES)
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [line for line in whole.decode("utf-8", "replace").split("\n") if line.strip()]

    def _why(self, status: int) -> str:
        if engine_failed(self._home):
            return engine_complaint(self._options.container, describe_status(status), end_of(self._home / LOG, _QUOTED_BYTES))
        return f"{self._options.command[0]} {describe_status(status)}; it said last: {self._last_words()}"

    def _last_words(self) -> str:
        return end_of(self._home / LOG, _QUOTED_BYTES).strip() or "nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started, if it still runs: asked first, killed when it does not listen."""
    if process.poll() is not None:
        return
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in family:
        _signal(each, kill=False)
    _, alive = psutil.wait_procs(family, timeout=_END_S)
    for each in alive:
        _signal(each, kill=True)
    process.wait()


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
