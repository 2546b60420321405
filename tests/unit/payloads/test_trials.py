"""The payload of scans: functions and programs, what they give back and fail with, early ends, checkpoints."""

from __future__ import annotations

import stat
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.event_range import EventRange
from raythena.domain.scan.trial import Point, TrialResult
from raythena.payloads.trials.checkpoint_store import CheckpointStore, CheckpointTooLarge
from raythena.payloads.trials.trial_payload import TrialOptions, check_options
from raythena.payloads.trials.trial_worker import evaluate, prepare
from raythena.storage.checkpoint_files import checkpoint_path


@dataclass
class Context:
    scratch: Path
    state: object


class Bench:
    """A worker with one function or program."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.task = directory / "task"
        (directory / "scratch").mkdir()

    def options(self, **options) -> dict[str, object]:
        return {"task_directory": str(self.task), **options}

    def function(self, text: str, **options):
        module = f"training_{self.directory.name.replace('-', '_')}"
        (self.directory / f"{module}.py").write_text(textwrap.dedent(text))
        sys.path.insert(0, str(self.directory))
        try:
            return prepare(self.options(python=f"{module}:train", **options))
        finally:
            sys.path.remove(str(self.directory))
            sys.modules.pop(module, None)

    def program(self, text: str, **options):
        path = self.directory / "train.py"
        path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(text))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return prepare(self.options(command=[str(path), "--fast"], **options))

    def run(self, trainer, point: Point | None = None) -> TrialResult:
        point = point or Point(7, {"x": 2.0})
        event = EventRange(f"point-{point.number}", "s.points", "/s", "", point.number, point.number, point=point.to_text())
        before = Path.cwd()
        try:
            return TrialResult.from_bytes(evaluate(event, Context(self.directory / "scratch", trainer)))
        finally:
            assert Path.cwd() == before
            assert list((self.directory / "scratch").iterdir()) == [], "the directory of a trial is left behind"

    def failure(self, trainer) -> str:
        with pytest.raises((InvalidInput, PayloadError)) as failure:
            self.run(trainer)
        return str(failure.value)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


GOES_ON = """
    from pathlib import Path

    def train(parameters, report):
        told = ""
        if report.checkpoint_directory:
            told = (report.checkpoint_directory / "weights").read_text()
        Path("weights").write_text(told + str(parameters["x"]) + " ")
        report.checkpoint("weights")
        if parameters["x"] == 3.0 and "3.0" not in told:
            raise RuntimeError("once")
        return {"loss": 1.0, "told": told}
"""


def test_a_trial_goes_on_from_its_parent(bench):
    trainer = bench.function(GOES_ON)
    assert bench.run(trainer, Point(1, {"x": 1.0})).metrics["told"] == ""
    assert bench.run(trainer, Point(5, {"x": 2.0}, parent=1)).metrics["told"] == "1.0 "
    assert bench.run(trainer, Point(9, {"x": 4.0}, parent=5)).metrics["told"] == "1.0 2.0 "


def test_tried_again_it_goes_on_from_its_own_checkpoint(bench):
    trainer = bench.function(GOES_ON)
    bench.run(trainer, Point(1, {"x": 1.0}))
    with pytest.raises(RuntimeError, match="once"):
        bench.run(trainer, Point(5, {"x": 3.0}, parent=1))
    assert bench.run(trainer, Point(5, {"x": 3.0}, parent=1)).metrics["told"] == "1.0 3.0 "


def test_a_parent_without_a_checkpoint_is_a_failure_of_the_program(bench):
    trainer = bench.function("def train(parameters, report):\n    return 1.0")
    bench.run(trainer, Point(1, {"x": 1.0}))
    with pytest.raises(PayloadError, match="point 1, which this one goes on from, has kept no checkpoint"):
        bench.run(trainer, Point(5, {"x": 1.0}, parent=1))


def test_what_a_program_names_is_kept_at_its_end(bench):
    program = """
        import json
        from pathlib import Path

        told = Path("weights").read_text() if Path("weights").exists() else ""
        Path("weights").write_text(told + "x")
        json.dump({"status": 0, "loss": len(told)}, open("output.json", "w"))
    """
    trainer = bench.program(program, checkpoint={"files": ["weights"]})
    assert bench.run(trainer, Point(1, {"x": 1.0})).values == {"loss": 0.0}
    assert bench.run(trainer, Point(2, {"x": 1.0}, parent=1)).values == {"loss": 1.0}


WRITES = """
    import json, sys
    x = json.load(open("input.json"))["x"]
    print("reading", x)
"""


def test_a_function_returns_its_loss(bench):
    result = bench.run(bench.function("def train(parameters, report):\n    return parameters['x'] ** 2"))
    assert (result.number, result.parameters, result.values) == (7, {"x": 2.0}, {"loss": 4.0})
    assert not result.stopped_early


def test_numbers_of_numpy_are_numbers(bench):
    text = """
    import numpy as np
    def train(parameters, report):
        report(np.float32(0.5))
        return np.float64(0.25)
    """
    result = bench.run(bench.function(text))
    assert (result.values, result.reports[0].value) == ({"loss": 0.25}, 0.5)


def test_several_objectives_and_what_else_there_is(bench):
    text = "def train(parameters, report):\n    return {'error': 1, 'auc': 0.5, 'epochs': 3}"
    trainer = bench.function(text, objectives={"error": "minimize", "auc": "maximize"})
    result = bench.run(trainer)
    assert (result.values, result.metrics) == ({"error": 1.0, "auc": 0.5}, {"epochs": 3})


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("float('nan')", "expected a finite number"),
        ("float('inf')", "expected a finite number"),
        ("None", "returned null"),
        ("'0.5'", "returned '0.5'"),
        ("True", "train: loss: is true"),
        ("10 ** 400", "is too large"),
        ("{'los': 1.0}", "train: loss: is missing"),
        ("{'status': 3, 'loss': 1.0, 'message': 'no data'}", "status: is 3: no data"),
    ],
)
def test_what_is_no_finite_number_is_a_failure(bench, returned, told):
    assert told in bench.failure(bench.function(f"def train(parameters, report):\n    return {returned}"))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("report(float('nan'))", "report: value: is nan"),
        ("report('0.5')", "report: value: is '0.5'"),
        ("report(1, 2); report(1, 2)", "report: step: is 2; expected a number that grows"),
    ],
)
def test_so_is_what_is_reported(bench, call, told):
    assert told in bench.failure(bench.function(f"def train(parameters, report):\n    {call}\n    return 1.0"))


def test_a_trial_ends_early_at_its_bound_whatever_the_training_catches(bench):
    text = """
    def train(parameters, report):
        for step in range(1, 10):
            try:
                report(10.0 - step, step)
            except Exception:
                pass
        return 0.0
    """
    point = Point(3, {"x": 1}, ((2.0, 9.0), (4.0, 2.0)))
    result = bench.run(bench.function(text, early_stopping="median"), point)
    assert result.stopped_early
    assert [(each.step, each.value) for each in result.reports] == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]
    assert result.values == {"loss": 6.0}


def test_a_function_goes_on_from_its_checkpoint(bench):
    text = """
    from pathlib import Path
    def train(parameters, report):
        kept = report.checkpoint_directory
        begun_at = int((kept / "epoch.txt").read_text()) if kept else 0
        for epoch in range(begun_at, 4):
            Path("epoch.txt").write_text(str(epoch + 1))
            report.checkpoint("epoch.txt")
            if not kept and epoch == 2:
                raise RuntimeError("the node is gone")
        return {"loss": 1.0, "begun_at": begun_at}
    """
    trainer = bench.function(text)
    with pytest.raises(RuntimeError):
        bench.run(trainer)
    assert checkpoint_path(bench.task, 7).is_file()
    assert bench.run(trainer).metrics == {"begun_at": 3}


def test_a_program_reads_its_point_and_writes_its_loss(bench):
    text = (
        WRITES
        + """
    with open("losses.jsonl", "w") as stream:
        for step in (1, 2):
            print(json.dumps({"step": step, "loss": x / step}), file=stream)
    json.dump({"status": 0, "loss": x ** 2, "argv": sys.argv[1:]}, open("output.json", "w"))
    """
    )
    result = bench.run(bench.program(text))
    assert (result.values, result.metrics) == ({"loss": 4.0}, {"argv": ["--fast"]})
    assert [(each.step, each.value) for each in result.reports] == [(1.0, 2.0), (2.0, 1.0)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pass", "output.json: was not written.*The program said last: reading 2.0"),
        ("open('output.json', 'w').write('{\"loss\": NaN}')", "output.json: holds NaN"),
        ("open('output.json', 'w').write('{\"loss\": 1')", "ends in the middle"),
        ("open('output.json', 'w').write('{\"status\": 2}')", "status: is 2"),
        ("sys.exit('the data are gone')", "exited with status 1; it said last: reading 2.0\nthe data are gone"),
        ("import os; print('oh', flush=True); os.kill(os.getpid(), 11)", r"killed by signal 11 \(SIGSEGV\).*oh"),
        ("open('losses.jsonl', 'w').write('{\"loss\": \"x\"}\\n')", "losses.jsonl: line 1.loss: is 'x'|losses.jsonl: line 1"),
    ],
)
def test_a_program_that_fails_is_quoted(bench, text, told):
    import re

    assert re.search(told, bench.failure(bench.program(WRITES + f"    {text}\n")), re.DOTALL)


def test_a_program_that_is_not_there(bench):
    trainer = prepare(bench.options(command=["/no/such/program"]))
    assert "/no/such/program could not be started: No such file or directory" in bench.failure(trainer)


def test_a_program_that_ends_early_leaves_nobody_behind(bench):
    text = """
    import json, subprocess, time
    child = subprocess.Popen(["sleep", "600"])
    open("losses.jsonl", "w").write(json.dumps({"loss": 9.0, "pid": child.pid}) + "\\n")
    open(%r, "w").write(str(child.pid))
    time.sleep(600)
    """.replace("%r", repr(str(bench.directory / "child")))
    result = bench.run(bench.program(text, early_stopping="asha"), Point(1, {"x": 1}, ((1.0, 2.0),)))
    assert result.stopped_early
    child = int((bench.directory / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_program_goes_on_from_its_checkpoint(bench):
    text = """
    import json, os, sys, time
    begun = os.path.exists("weights.bin")
    open("weights.bin", "w").write("w")
    time.sleep(0.6)
    if not begun:
        sys.exit(1)
    json.dump({"loss": 1.0}, open("output.json", "w"))
    """
    trainer = bench.program(text, checkpoint={"files": ["weights.bin"], "every_s": 0.2})
    bench.failure(trainer)
    assert bench.run(trainer).values == {"loss": 1.0}


def test_a_checkpoint_is_whole_and_has_a_limit(tmp_path):
    store = CheckpointStore(tmp_path / "task", 1, max_mb=0.001)
    (tmp_path / "small").write_bytes(b"x" * 500)
    (tmp_path / "large").write_bytes(b"x" * 2000)
    store.save([tmp_path / "small"])
    with pytest.raises(CheckpointTooLarge, match=r"a trial may keep 0\.001 MB"):
        store.save([tmp_path / "large"])
    assert store.restore(tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["small"]
    assert [path.name for path in (tmp_path / "task" / "trials").iterdir()] == ["00000001.zip"]
    assert not CheckpointStore(tmp_path / "task", 2, 1.0).restore(tmp_path / "none")
    assert not CheckpointStore(None, 2, 1.0).restore(tmp_path / "none")


def test_directories_are_kept_as_they_are(tmp_path):
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"w")
    store = CheckpointStore(tmp_path / "task", 1, 1.0)
    store.save([tmp_path / "model"])
    assert store.restore(tmp_path / "back")
    assert (tmp_path / "back" / "model" / "deep" / "weights").read_bytes() == b"w"


def test_a_range_that_is_no_point_is_refused(bench):
    trainer = bench.function("def train(parameters, report):\n    return 1.0")
    with pytest.raises(PayloadError, match="no point of a hyper-parameter scan"):
        evaluate(EventRange("a-1", "a", "/a", "", 1, 1), Context(bench.directory / "scratch", trainer))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "has neither python nor command"),
        ({"python": "m:f", "command": ["a"]}, "has both python and command"),
        ({"python": "m"}, "is not a function's name"),
        ({"comand": ["a"]}, "Did you mean command"),
        ({"command": ["a"], "checkpoint": {"files": ["../x"]}}, "expected names of files in the directory"),
        ({"command": ["a"], "checkpoint": {"every_s": 0}}, "expected a number above 0"),
        ({"command": ["a"], "objectives": {"loss": "min"}}, "expected names with minimize or maximize"),
        ({"command": ["a"], "container": {"engine": "dokker"}}, "container"),
    ],
)
def test_options_that_cannot_work_are_refused(options, told):
    with pytest.raises(InvalidInput, match=told):
        check_options(options, "scan.yaml")


def test_defaults():
    options = TrialOptions.of({"command": ["train"]})
    assert [objective.name for objective in options.objectives] == ["loss"]
    assert (options.checkpoint.every_s, options.checkpoint.max_mb) == (300.0, 100.0)
