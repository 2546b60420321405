"""The payload `trial`: workers of the payload `python`, each of which evaluates one point after the other.

Options: `python` ("module:function", called as `train(parameters, report)`) or `command` (program and arguments, started in a
directory of its own with `input.json` in it, which it leaves with `output.json`); `path` (directories for sys.path);
`environment` and `container` of a command; `checkpoint` (`files` that a command writes, `every_s` between two copies of them,
`max_mb` for all of them together); `objectives` (what is given back, with minimize or maximize; `loss` alone by default) and
`early_stopping` (which rule the bounds of a point follow). The last two come from the scan file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raythena.domain.container import Container, parse_container
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.scan.scan_file import DEFAULT_OBJECTIVE, Goal, Objective
from raythena.domain.scan.stopping_rule import RuleKind
from raythena.payloads.plugin_options import PREFIX, function_name, refuse_unknown, string_list, string_map
from raythena.payloads.workers.python import PythonPayload, ZygoteSpawner
from raythena.payloads.workers.worker_supervisor import Spawner
from raythena.runtime.payload_interface import PayloadContext, PayloadPlugin

KNOWN_OPTIONS = (
    *("python", "command", "path", "environment", "container", "checkpoint", "objectives", "early_stopping", "task_directory"),
)
_WORKER = "raythena.payloads.trials.trial_worker"


@dataclass(frozen=True, slots=True)
class CheckpointRules:
    """What is kept of a trial that runs, so that it can go on elsewhere."""

    files: tuple[str, ...] = ()
    """Names of a command's files, in its directory. A Python function says itself what it keeps."""
    every_s: float = 300.0
    max_mb: float = 100.0


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """What a worker is told."""

    python: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    container: Container = Container()  # noqa: RUF009 (frozen)
    checkpoint: CheckpointRules = CheckpointRules()
    objectives: tuple[Objective, ...] = (Objective(DEFAULT_OBJECTIVE),)
    rule: RuleKind = RuleKind.NONE
    task_directory: Path | None = None
    """Where checkpoints are kept, below `trials`."""

    @classmethod
    def of(cls, options: Mapping[str, Any], source: str = "job") -> TrialOptions:
        """Check and build. Raises InvalidInput naming the field."""
        refuse_unknown(options, KNOWN_OPTIONS, source)
        python, command = function_name(options, "python", source), string_list(options, "command", source)
        if bool(python) == bool(command and command[0]):
            problem = "has both python and command" if python else "has neither python nor command"
            raise InvalidInput(source, PREFIX, problem, expected="one of the two")
        string_list(options, "path", source)
        return cls(
            python,
            tuple(command),
            string_map(options, "environment", source),
            parse_container(options.get("container"), source, f"{PREFIX}.container"),
            _checkpoint(FieldPath(source, f"{PREFIX}.checkpoint", options.get("checkpoint"))),
            _objectives(FieldPath(source, f"{PREFIX}.objectives", options.get("objectives"))),
            RuleKind(options.get("early_stopping", RuleKind.NONE)),
            Path(options["task_directory"]) if options.get("task_directory") else None,
        )


def _checkpoint(place: FieldPath) -> CheckpointRules:
    if not place.given:
        return CheckpointRules()
    place.mapping(("files", "every_s", "max_mb"))
    files = tuple(item.text("the name of a file") for item in place.entry("files").items()) if place.entry("files").given else ()
    for name in files:
        if name.startswith(("/", ".")) or "/" in name:
            raise place.entry("files").refuse(f"holds {name!r}", expected="names of files in the directory of the trial")
    usual = CheckpointRules()
    numbers = {name: _positive(place.entry(name), getattr(usual, name)) for name in ("every_s", "max_mb")}
    return CheckpointRules(files, **numbers)


def _positive(place: FieldPath, usual: float) -> float:
    value = usual if place.value is None else place.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
        raise place.refuse(f"is {value!r}", expected="a number above 0")
    return float(value)


def _objectives(place: FieldPath) -> tuple[Objective, ...]:
    if not place.given:
        return (Objective(DEFAULT_OBJECTIVE),)
    if not isinstance(place.value, dict) or not place.value or any(goal not in tuple(Goal) for goal in place.value.values()):
        raise place.refuse(f"is {place.value!r}", expected="names with minimize or maximize")
    return tuple(Objective(name, Goal(goal)) for name, goal in place.value.items())


def check_options(options: dict[str, object], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    TrialOptions.of(options, source)


class TrialPayload(PythonPayload):
    """The payload `trial`."""

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """Workers are forks of a zygote that has loaded the function, or what starts the command."""
        check_options(context.options, "job")
        task = str(context.task_directory or "")
        worker = {
            "function": f"{_WORKER}:evaluate",
            "setup": f"{_WORKER}:prepare",
            "options": {"task_directory": task, **context.options},
            "path": context.options.get("path", []),
        }
        return ZygoteSpawner(worker, self.sockets, context.log_dir / "zygote.log", context.first_time_limit_s)


PLUGIN = PayloadPlugin("trial", TrialPayload, check_options)
