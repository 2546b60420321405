"""The settings of a session: what they are, and which source had the last word on each.

Sources, later ones winning: the built-in default; the user's file (`$XDG_CONFIG_HOME/raythena/config.yaml`, usually under
`~/.config`); `raythena.yaml` in the current directory; environment variables (`RAYTHENA_NODES_COUNT` for `nodes.count`);
the command line. A file named by `--config` or `RAYTHENA_CONFIG` takes the place of both files.

Rules: types are strict (`count: "2"` in a file is refused, only environment and command line are text); a key nobody knows is
refused in files and on the command line, and so is a bad value that a later source would have overridden; a variable nobody knows
may be somebody else's, and is warned of. The module reads files and the mapping it is handed, never the process's own
environment: what it is told is what counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from raythena.cli.setting_targets import Target, filled, purpose_of, setting
from raythena.cli.settings_file import read_settings_file
from raythena.domain.allocation_chain import ChainPlan
from raythena.domain.document_model import json_schema
from raythena.domain.errors import InvalidInput
from raythena.gateways.harvester.conversation import Patience
from raythena.launch.launcher import LaunchOrder
from raythena.runtime.session_config import NODE_ENDS_AT_VARIABLE, SESSION_VARIABLE, SessionConfig
from raythena.storage.owned import LONGEST_BASE

C = TypeVar("C")

ENVIRONMENT_PREFIX = "RAYTHENA_"
CONFIG_VARIABLE = "RAYTHENA_CONFIG"
RESERVED_VARIABLES = frozenset(
    {CONFIG_VARIABLE, SESSION_VARIABLE, NODE_ENDS_AT_VARIABLE}
    | {f"RAYTHENA_{word}" for word in ("SOCKET", "WORKER", "SCRATCH", "WORKER_CORES", "RANGES_IN_FLIGHT")}
)
"""Variables with our prefix that are not settings: the file to read, and what payload workers, commands and agents are told."""
LOCAL_FILE = "raythena.yaml"
DAY_S = 86_400
YEAR_S = 31_536_000

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class _Group(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class NodeSettings(_Group):
    """The cluster to start."""

    count: int = setting(
        "nodes of the allocation to use at most, 0: all; on one machine logical nodes to start, 0: two",
        default=0,
        ge=0,
        le=10_000,
    )
    cores_per_node: int = setting(
        "events computed at the same time on each node; 0: on all cores the batch system gave, on one machine one",
        default=0,
        ge=0,
        le=4096,
    )


class LaunchSettings(_Group):
    """Where nodes come from, and how processes are started on them."""

    on: str = setting(
        "launcher: auto (slurm and ssh inside of jobs of Slurm and PBS, else local) or the name of one; processes: no Ray",
        default="auto",
        expected="auto, local, processes, slurm, ssh, ray or the name of a plug-in",
        pattern=r"^[a-z][a-z0-9_-]*$",
    )
    head_cores: int = setting(
        "events computed at the same time on the head node of an allocation; -1: all cores, less one if it has four",
        default=-1,
        ge=-1,
        le=4096,
    )
    interface: str = setting(
        "network interface by which nodes reach each other; empty: the one that leads from one to the other",
        Target(LaunchOrder, "interface"),
        expected="the name of an interface, or nothing",
        pattern=r"^[^\s/]{0,15}$",
    )
    hosts: str = setting(
        "file with a host in each line, for launcher ssh; empty: the node file of PBS", Target(LaunchOrder, "hosts")
    )
    ray_address: str = setting(
        "host:port of a running Ray cluster, for launcher ray; empty: RAY_ADDRESS", Target(LaunchOrder, "ray_address")
    )
    remote_shell: str = setting("command that runs a program on a host, {host} in its place", Target(LaunchOrder, "remote_shell"))
    remote_stdin: bool = setting(
        "whether that command passes standard input on; if not (pbsdsh), a file beside the task takes its place",
        Target(LaunchOrder, "remote_stdin"),
    )
    step_options: str = setting("more options for the command that starts a process on a node (srun)", default="")
    environment: str = setting(
        "archive made by `raythena stage`, which the nodes unpack on their own disks and start from; empty: none",
        Target(LaunchOrder, "environment"),
    )
    tls: bool = setting(
        "whether nodes encrypt what they say to each other, with certificates of each session", Target(LaunchOrder, "tls")
    )
    succession: bool = setting("whether another node goes on with the job when the machine of the head dies", default=True)
    start_limit_s: float = setting(
        "time after which the start of a node has failed", Target(LaunchOrder, "policy.start_limit_s"), ge=1, le=DAY_S
    )
    starts_at_once: int = setting("nodes starting at the same time", Target(LaunchOrder, "policy.at_once"), ge=1, le=10_000)
    max_start_failures: int = setting(
        "failed starts in a row that set a node aside which was never there",
        Target(LaunchOrder, "policy.max_failures"),
        ge=1,
        le=1000,
    )


class BatchSettings(_Group):
    """The batch jobs that `raythena submit` writes."""

    directives: str = setting(
        "directives for every job, in place of ours of the same name: partition=regular account=m1234", default=""
    )
    drop: str = setting("directives of ours the site does not take: exclusive requeue", default="")
    before: str = setting("lines of shell before the command, such as module load python", default="")
    warning_s: int = setting("time between the batch system's warning and the end", default=90, ge=1, le=DAY_S)
    max_allocations: int = setting("allocations of a chain at most", default=100, ge=1, le=10_000)
    idle_allocations: int = setting(
        "allocations in a row that finish no event and so end a chain", Target(ChainPlan, "idle_limit"), ge=1, le=1000
    )


class EngineSettings(_Group):
    """How ranges are handed out."""

    max_attempts: int = setting(
        "attempts at an event before it is recorded as failed", Target(SessionConfig, "engine.max_attempts"), ge=1, le=255
    )
    max_losses: int = setting(
        "lost nodes that cost an event its place in the job", Target(SessionConfig, "engine.max_losses"), ge=1, le=255
    )
    upstream_patience_s: float = setting(
        "wait for a task that makes the inputs, is not finished and that nobody works on",
        Target(SessionConfig, "engine.upstream_patience_s"),
        ge=0,
        le=DAY_S,
    )
    buffer_s: float = setting(
        "computing time a node holds ahead of its cores", Target(SessionConfig, "engine.buffer_s"), ge=0.01, le=DAY_S
    )
    max_lease: int = setting("event ranges in one lease at most", Target(SessionConfig, "engine.max_lease"), ge=1, le=1_000_000)
    duplicate_stragglers: bool = setting(
        "compute late events a second time on idle cores", Target(SessionConfig, "engine.duplicate_stragglers")
    )
    max_merges: int = setting("merges running at the same time", Target(SessionConfig, "engine.max_merges"), ge=1, le=1024)
    walltime_s: float = setting(
        "time from the start of the command to the end of the allocation; 0: not known", default=0.0, ge=0, le=YEAR_S
    )
    margin_s: float = setting(
        "time kept between the last event and the end of the allocation, at least",
        Target(SessionConfig, "engine.deadline.margin_s"),
        ge=0,
        le=DAY_S,
    )


def _budget(name: str) -> Target:
    return Target(SessionConfig, f"engine.budget.{name}")


class BudgetSettings(_Group):
    """How much may go wrong before the job is stopped; of two limits the smaller one counts."""

    max_lost_nodes: int = setting("nodes that may be lost or set aside", _budget("max_lost_nodes"), ge=0, le=1_000_000)
    max_lost_node_fraction: float = setting(
        "the same, of all nodes that joined (3 always may)", _budget("max_lost_node_fraction"), ge=0, le=1
    )
    lost_after_s: float = setting("time after which a node that is away counts as lost", _budget("lost_after_s"), ge=0, le=DAY_S)
    max_failed_events: int = setting(
        "events that may fail for good in one session", _budget("max_failed_events"), ge=0, le=1 << 40
    )
    max_failed_fraction: float = setting(
        "the same, of the job's events (20 always may)", _budget("max_failed_fraction"), ge=0, le=1
    )
    repeated_failures: int = setting(
        "attempts failing with one message on several nodes that stop a job without success",
        _budget("repeated_failures"),
        ge=1,
        le=1_000_000,
    )
    bad_node_failures: int = setting(
        "attempts failing in a row that set a node aside while others succeed", _budget("bad_node_failures"), ge=1, le=1_000_000
    )


class RuntimeSettings(_Group):
    """How nodes and coordinator work together."""

    exchange_interval_s: float = setting(
        "pause between two exchanges of a node",
        Target(SessionConfig, "node_exchange.exchange_interval_s"),
        Target(SessionConfig, "node.exchange_interval_s"),
        ge=0.01,
        le=600,
    )
    group_events: int = setting(
        "events whose outputs are stored in one group at most", Target(SessionConfig, "node.group_events"), ge=1, le=1_000_000
    )
    group_bytes: int = setting("size at which a group is closed", Target(SessionConfig, "node.group_bytes"), ge=1024, le=1 << 40)
    group_age_s: float = setting("age at which a group is closed", Target(SessionConfig, "node.group_age_s"), ge=0.01, le=DAY_S)
    commit_interval_s: float = setting(
        "pause between two commits of the ledger", Target(SessionConfig, "commit_interval_s"), ge=0, le=60
    )
    scratch_dir: str = setting(
        "node-local directory for outputs of single events; empty: the system's temporary one",
        Target(SessionConfig, "scratch_directory"),
        expected="an absolute path, or nothing",
        pattern=r"^(/[^\x00]*)?$",
    )
    ray_dir: str = setting(
        "directory below which Ray keeps its files and sockets; empty: /tmp, or where temporary files go if that refuses",
        Target(LaunchOrder, "ray_directory"),
        expected=f"an absolute path of at most {LONGEST_BASE} characters, or nothing",
        pattern=r"^(/[^\x00]*)?$",
        max_length=LONGEST_BASE,
    )
    storage_patience_s: float = setting(
        "how long a disk may refuse before the node, or the job, is given up",
        Target(SessionConfig, "storage_patience_s"),
        ge=0,
        le=DAY_S,
    )
    takeover_s: float = setting(
        "time to wait for a task that somebody holds; 0: 3 s, in a batch job 90 s", default=0.0, ge=0, le=DAY_S
    )
    drain_s: float = setting(
        "time running events get after Ctrl-C, and everything after SIGTERM, SIGHUP or SIGUSR1",
        Target(SessionConfig, "engine.drain_limit_s"),
        ge=0,
        le=DAY_S,
    )


class PayloadSettings(_Group):
    """How long an event may take, and how much memory."""

    min_time_limit_s: float = setting(
        "no event is killed before it has run this long", Target(SessionConfig, "limits.min_time_limit_s"), ge=0.1, le=YEAR_S
    )
    time_limit_factor: float = setting(
        "an event is killed after this many times the longest of the finished ones",
        Target(SessionConfig, "limits.time_limit_factor"),
        ge=1,
        le=1e6,
    )
    first_time_limit_s: float = setting(
        "time limit while fewer than ten events have finished on the node",
        Target(SessionConfig, "limits.first_time_limit_s"),
        ge=0.1,
        le=YEAR_S,
    )
    worker_memory_bytes: int = setting(
        "memory one worker may take; 0: no limit but the node's",
        Target(SessionConfig, "memory.worker_memory_bytes"),
        ge=0,
        le=1 << 50,
    )
    node_memory_bytes: int = setting(
        "memory all workers of a node may take; 0: what the machine or the batch job has",
        Target(SessionConfig, "memory.node_memory_bytes"),
        ge=0,
        le=1 << 50,
    )
    memory_reserve: float = setting(
        "share of a node's memory that is kept free", Target(SessionConfig, "memory.memory_reserve"), ge=0, le=0.9
    )


class HarvesterSettings(_Group):
    """How long `raythena harvest` waits for what Harvester writes."""

    answer_patience_s: float = setting(
        "time until a job or event ranges are asked for again, or a job counts as missing",
        Target(Patience, "invisible_s"),
        ge=1,
        le=DAY_S,
    )
    torn_patience_s: float = setting(
        "time after which a file that cannot be read counts as cut short for good", Target(Patience, "torn_s"), ge=1, le=DAY_S
    )
    settle_s: float = setting(
        "pause between an answered request for ranges and the next one", Target(Patience, "settle_s"), ge=0, le=600
    )
    first_poll_s: float = setting(
        "pause between two looks right after a change", Target(Patience, "first_poll_s"), ge=0.01, le=600
    )
    last_poll_s: float = setting("the same when nothing has changed for long", Target(Patience, "last_poll_s"), ge=0.01, le=600)


class DisplaySettings(_Group):
    """How progress is shown."""

    mode: Literal["auto", "live", "lines", "json", "quiet"] = setting(
        "auto is live on a terminal and lines elsewhere", default="auto"
    )


class Settings(_Group):
    """Every setting of a session. The names here are the names in files; `group.name` everywhere else."""

    nodes: NodeSettings = NodeSettings()
    launch: LaunchSettings = LaunchSettings()
    batch: BatchSettings = BatchSettings()
    engine: EngineSettings = EngineSettings()
    budget: BudgetSettings = BudgetSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    payload: PayloadSettings = PayloadSettings()
    harvester: HarvesterSettings = HarvesterSettings()
    display: DisplaySettings = DisplaySettings()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a person meets it: `name` is `group.name`, `expected` says in words which values it takes."""

    name: str
    default: object
    expected: str
    description: str
    kind: type
    group: type[BaseModel]
    targets: tuple[Target, ...]
    """The fields of configurations it fills; none for a setting the command itself decides by."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace(".", "_")

    def checked(self, value: object, source: str) -> object:
        """`value` if the setting takes it. Raises InvalidInput naming `source`."""
        key = self.name.rpartition(".")[2]
        if self.kind is int and isinstance(value, float) and value % 1 == 0:
            value = int(value)  # 2.0 is an integer, as in JSON Schema
        try:
            return getattr(self.group.model_validate({key: value}), key)
        except ValidationError:
            raise InvalidInput(source, self.name, f"{_shown(value)} is not accepted", expected=self.expected) from None

    def parsed(self, text: str, source: str) -> object:
        """The value that `text`, from an environment variable or the command line, stands for. Raises InvalidInput."""
        return self.checked(_from_text(text.strip(), self.kind), source)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings in force, and for each `group.name` where its value came from."""

    settings: Settings
    origin: Mapping[str, str]
    """`default`, `FILE:LINE`, `environment NAME` or `command line`."""
    warnings: tuple[str, ...] = ()
    """What a person should look at: variables with our prefix that set nothing."""

    def value(self, name: str) -> object:
        """The value of `group.name`."""
        return value_of(self.settings, name)


def load_settings(
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    directory: Path | None = None,
) -> LoadedSettings:
    """Gather the settings from every source.

    `overrides` maps `group.name` to a value (text is parsed, None means not given); `directory` is where `raythena.yaml` is
    looked for, the current one by default. Raises InvalidInput for a file that cannot be read, an unknown key or a bad value.
    """
    values = {entry.name: entry.default for entry in SETTINGS.values()}
    origin = dict.fromkeys(values, "default")
    for path in _files(config_file, environ, directory or Path.cwd()):
        for name, (value, where) in _from_file(path):
            values[name], origin[name] = value, where
    for name, (value, where) in _from_environment(environ):
        values[name], origin[name] = value, where
    for name, value in _from_command_line(overrides or {}):
        values[name], origin[name] = value, "command line"
    return LoadedSettings(_assembled(values), MappingProxyType(origin), tuple(_strange_variables(environ)))


def value_of(settings: Settings, name: str) -> object:
    """The value of `group.name`."""
    group, _, key = name.partition(".")
    return getattr(getattr(settings, group), key)


def placed(config: C, settings: Settings) -> C:
    """`config` with every setting that goes into configurations of its type."""
    values = ((target, value_of(settings, name)) for name, entry in SETTINGS.items() for target in entry.targets)
    return filled(config, values)


def settings_schema(title: str) -> dict[str, object]:
    """The JSON Schema of a settings file. A group may stand there without values."""
    schema = json_schema(Settings, title)
    for group, entry in schema["properties"].items():
        schema["properties"][group] = {"anyOf": [{"$ref": entry["$ref"]}, {"type": "null"}]}
    return schema


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Turn `--set group.name=value` into overrides. Raises InvalidInput for text without `=` or an unknown name."""
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidInput("--set", "", f"{assignment!r} assigns nothing", expected="GROUP.NAME=VALUE")
        overrides[_known(name.strip(), SETTINGS, "--set")] = text
    return overrides


def _files(config_file: Path | None, environ: Mapping[str, str], directory: Path) -> list[Path]:
    named = config_file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.exists():
            source = "--config" if config_file else CONFIG_VARIABLE
            raise InvalidInput(str(named), "", f"no such file, given by {source}", hint="Create it, or leave the option away")
        return [named]
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    candidates = [Path(home) / "raythena" / "config.yaml"] if home else []
    return [path for path in [*candidates, directory / LOCAL_FILE] if path.exists()]


def _from_file(path: Path) -> Iterator[tuple[str, tuple[object, str]]]:
    groups = {name.partition(".")[0]: None for name in SETTINGS}
    for entry in read_settings_file(path):
        source = f"{path}:{entry.line}"
        group = _known(entry.group, groups, f"{path}:{entry.group_line}")
        if entry.name is None:
            continue
        name = _known(f"{group}.{entry.name}", SETTINGS, source)
        yield name, (SETTINGS[name].checked(entry.value, source), source)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[object, str]]]:
    names = {entry.variable: entry for entry in SETTINGS.values()}
    for variable in sorted(environ):
        entry = names.get(variable)
        if entry is not None:
            source = f"environment {variable}"
            yield entry.name, (entry.parsed(environ[variable], source), source)


def _strange_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A site's own scripts may well have a RAYTHENA_HOME: that is no error, but might be a setting misspelt."""
    names = {entry.variable for entry in SETTINGS.values()} | RESERVED_VARIABLES
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in names:
            near = get_close_matches(variable, names, n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near else "`raythena config show` lists every setting"
            yield f"the variable {variable} sets nothing; {hint}"


def _from_command_line(overrides: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in overrides.items():
        entry = SETTINGS[_known(name, SETTINGS, "command line")]
        if isinstance(value, str):
            yield name, entry.parsed(value, "command line")
        elif value is not None:
            yield name, entry.checked(value, "command line")


def _known(name: str, names: Mapping[str, object], source: str) -> str:
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else "`raythena config show` lists every setting"
    raise InvalidInput(source, name, "no such setting", hint=hint)


def _assembled(values: Mapping[str, object]) -> Settings:
    groups: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        group, _, key = name.partition(".")
        groups.setdefault(group, {})[key] = value
    return Settings.model_validate(groups)


def _from_text(text: str, kind: type) -> object:
    """`text` as a value of `kind`, or `text` itself when it is none: the check that follows then says what is wrong."""
    if kind is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if kind not in (int, float):
        return text
    try:
        number = float(text) if kind is float else int(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _expected(info: FieldInfo) -> str:
    if purpose_of(info).expected:
        return purpose_of(info).expected
    if get_origin(info.annotation) is Literal:
        return "one of " + ", ".join(get_args(info.annotation))
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text"}[_kind(info)]
    return " ".join([words, *(_bound(limit) for limit in info.metadata if isinstance(limit, Ge | Le))])


def _bound(limit: Ge | Le) -> str:
    word, number = ("from", limit.ge) if isinstance(limit, Ge) else ("to", limit.le)
    return f"{word} {number:,}"


def _kind(info: FieldInfo) -> type:
    annotation: object = info.annotation
    return annotation if isinstance(annotation, type) else str


def _catalogue() -> Iterator[Setting]:
    for group, group_info in Settings.model_fields.items():
        model: Any = group_info.annotation
        for key, info in model.model_fields.items():
            targets, description = purpose_of(info).targets, info.description or ""
            yield Setting(f"{group}.{key}", info.default, _expected(info), description, _kind(info), model, targets)


SETTINGS: Mapping[str, Setting] = MappingProxyType({entry.name: entry for entry in _catalogue()})
"""Every setting by its name, in the order they are shown."""
