"""The payload section of a job whose payload is `pilot`.

Rules: what is wrong is refused before anything is started, by its name; what a section leaves out has a default that suits one
node of a batch allocation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput
from raythena.payloads.plugin_options import PREFIX, max_events, refuse_unknown, string_list, string_map

NAMESPACE_WORDS = ("auto", "yes", "no")
_EXTRA = ("job",)
DEFAULT_QUEUE = "RAYTHENA"
"""The queue of a section that names none."""


@dataclass(frozen=True)
class PilotOptions:
    """How to run the pilot. Paths are absolute."""

    pilot: Path | None = None
    """Directory that holds `pilot.py`, or an archive of it (`.tar.gz`)."""
    command: tuple[str, ...] = ()
    """What to start instead of `python pilot.py`: a wrapper and its own arguments; the pilot's are appended."""
    python: str = "python3"
    version: str = ""
    """The pilot's version where it cannot be found out, behind a wrapper."""
    arguments: tuple[str, ...] = ()
    """Further arguments; one that the adapter gives as well wins."""
    environment: Mapping[str, str] = field(default_factory=dict)
    queue: str = DEFAULT_QUEUE
    queuedata: Mapping[str, object] | Path | None = None
    """The queue's object, or a file of it; `cric_pandaqueues.json` is taken as well."""
    ddmendpoints: Mapping[str, object] | Path | None = None
    cacher: Path | None = None
    """Directory into which Harvester's cacher writes what it gets from CRIC."""
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Changes to the pilot's `default.cfg`, by section."""
    default_config: Path | None = None
    """That file, where it is not below `pilot`."""
    proxy: Path | None = None
    verify_proxy: bool = False
    """Let the pilot check its proxy, with arcproxy, before it asks for a job."""
    patched: bool = False
    """The site has patched this release: it can run event-service jobs although it is known that it cannot."""
    max_events: int | None = None
    """Value for --maxEvents of PanDA's job, -1 for all; None: what the job says."""
    pid_namespace: str = "auto"
    ahead_s: float = 30.0
    """Computing time to hold in the pilot's cache, for each core."""
    over_delivery: int = 100
    """The same in ranges, at most, for each core: for events so short that their number matters."""
    busy_hold_s: float = 5.0
    idle_hold_s: float = 90.0
    report_grace_s: float = 30.0
    """Time an event's report may take after the event, before the event counts as hanging."""
    final_update_s: float = 20.0
    """Time the pilot gets between its last report and its final update. It needs some 8, and 60 where prmon is missing."""
    silence_s: float = 1800.0
    """A pilot that makes no request and whose processes use no CPU for so long is replaced."""
    max_starts: int = 5
    """Pilots in a row that end without a result before the payload is given up."""
    log_limit_mb: int = 50
    """Of each log file kept."""


def known_options() -> list[str]:
    """The names a section may use."""
    return [*(one.name for one in fields(PilotOptions)), *_EXTRA]


def read_options(options: Mapping[str, Any], source: str) -> PilotOptions:
    """The options of a section. Raises InvalidInput."""
    refuse_unknown(options, known_options(), source)
    values: dict[str, Any] = {
        "command": tuple(string_list(options, "command", source)),
        "arguments": tuple(string_list(options, "arguments", source)),
        "environment": string_map(options, "environment", source),
        "config": _config(options, source),
        "max_events": max_events(options, "job", source),
    }
    for name in ("pilot", "default_config", "proxy", "cacher"):
        values[name] = _path(options, name, source)
    for name in ("verify_proxy", "patched"):
        values[name] = _flag(options, name, source)
    for name in ("python", "version", "queue", "pid_namespace"):
        if name in options:
            values[name] = _word(options, name, source)
    for name in ("queuedata", "ddmendpoints"):
        values[name] = _document(options, name, source)
    for name in ("ahead_s", "busy_hold_s", "idle_hold_s", "report_grace_s", "final_update_s", "silence_s"):
        if name in options:
            values[name] = _number(options, name, source, 0.0, 100.0 if name.endswith("hold_s") else 1e6)
    for name in ("over_delivery", "max_starts", "log_limit_mb"):
        if name in options:
            values[name] = int(_number(options, name, source, 1, 1e6))
    found = PilotOptions(**values)
    _check(found, source)
    return found


def served_document(options: Mapping[str, object], source: str) -> dict[str, object]:
    """The option `job`: what the pilot gets from getJob, as a mapping or as a file of JSON. Raises InvalidInput."""
    value = options.get("job")
    if isinstance(value, str):
        value = load_json(Path(value), source, "job")
    if not isinstance(value, Mapping):
        raise InvalidInput(source, f"{PREFIX}.job", "no job to give to the pilot", expected="PanDA's job, or a file of it")
    job = dict(value)
    if "PandaID" not in job and len(job) == 1 and isinstance(only := next(iter(job.values())), Mapping):
        job = dict(only)
    if not str(job.get("PandaID", "")).isdecimal():
        raise InvalidInput(source, f"{PREFIX}.job.PandaID", f"is {job.get('PandaID')!r}", expected="a number")
    return job


def load_json(path: Path, source: str, name: str) -> object:
    """The content of a file of JSON. Raises InvalidInput."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InvalidInput(source, f"{PREFIX}.{name}", f"{path} cannot be read: {problem}", expected="a file of JSON") from None


def _check(options: PilotOptions, source: str) -> None:
    if options.pilot is None and not options.command:
        hint = "Give the directory of a release, or a wrapper as `command`"
        raise InvalidInput(
            source, f"{PREFIX}.pilot", "no pilot given", expected="a directory with pilot.py, or an archive", hint=hint
        )
    if options.cacher is not None and not options.cacher.is_dir():
        hint = "A single file of queues is given as `queuedata`"
        raise InvalidInput(source, f"{PREFIX}.cacher", f"{options.cacher} is no directory", expected="a directory", hint=hint)
    if options.pid_namespace not in NAMESPACE_WORDS:
        expected = "one of " + ", ".join(NAMESPACE_WORDS)
        raise InvalidInput(source, f"{PREFIX}.pid_namespace", f"is {options.pid_namespace!r}", expected=expected)


def _path(options: Mapping[str, object], name: str, source: str) -> Path | None:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value or not os.path.exists(value):  # noqa: PTH110
        raise InvalidInput(source, f"{PREFIX}.{name}", f"{value!r} is not there", expected="a path")
    return Path(value).absolute()


def _word(options: Mapping[str, object], name: str, source: str) -> str:
    value = options[name]
    if isinstance(value, bool) and name == "pid_namespace":
        return "yes" if value else "no"  # YAML reads yes and no as booleans
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidInput(source, f"{PREFIX}.{name}", f"is {value!r}", expected="text")
    return value


def _flag(options: Mapping[str, object], name: str, source: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(source, f"{PREFIX}.{name}", f"is {value!r}", expected="true or false")
    return value


def _number(options: Mapping[str, object], name: str, source: str, least: float, most: float) -> float:
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidInput(source, f"{PREFIX}.{name}", f"is {value!r}", expected=f"a number from {least:g} to {most:g}")
    return float(value)


def _document(options: Mapping[str, object], name: str, source: str) -> Mapping[str, object] | Path | None:
    value = options.get(name)
    return value if isinstance(value, Mapping) else _path(options, name, source)


def _config(options: Mapping[str, object], source: str) -> dict[str, dict[str, str]]:
    sections = options.get("config", {})
    if not isinstance(sections, Mapping):
        raise InvalidInput(source, f"{PREFIX}.config", f"{sections!r} is not a mapping", expected="sections with their values")
    return {str(name): string_map(sections, name, source, f"{PREFIX}.config") for name in sections}
