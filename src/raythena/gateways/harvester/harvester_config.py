"""What a site has set in Harvester's configuration and we must know: the names of the files in an access point.

Harvester reads them from the section `[payload_interaction]` of `panda_harvester.cfg`. We read the same section of the same file;
what it does not say has Harvester's default. An environment variable `HARVESTER_<OPTION>` overrides an option, for sites whose
compute nodes do not see that file: `jobSpecFile` is `HARVESTER_JOB_SPEC_FILE`.

A queue may rename files once more, in the section `messenger` of its configuration (`panda_queueconfig.json`), under the names
its messenger has for them: `jobSpecFileName`, `jsonOutputsFileName`. That file says how jobs are mapped to workers (`mapType`) as
well. Where a worker cannot read it, `mapType` comes from an option of the command or from the environment, as does what is in no
file: whether jobs are bound late, which worker this is.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput

SECTION = "payload_interaction"
TASK_WORKDIR_FILE = "task_workdir_path.txt"
"""Not configurable in Harvester."""
READ_SUFFIX = ".read"
"""Harvester renames what it is about to take in, before it loads it."""

CONFIG_VARIABLE = "HARVESTER_CONFIG"
QUEUE_CONFIG_VARIABLE = "HARVESTER_QUEUE_CONFIG"
QUEUE_VARIABLE = "HARVESTER_QUEUE"
ACCESS_POINT_VARIABLE = "HARVESTER_ACCESS_POINT"
MAP_TYPE_VARIABLE = "HARVESTER_MAP_TYPE"
WORKER_ID_VARIABLE = "HARVESTER_WORKER_ID"


class MapType(StrEnum):
    """How Harvester maps the jobs of a queue to its workers, as far as we can serve it."""

    ONE_TO_ONE = "OneToOne"
    """One job, one batch job. Everything a worker says reaches PanDA."""
    ONE_TO_MANY = "OneToMany"
    """One job, several batch jobs. Attributes, job report and error codes are dropped by Harvester."""


@dataclass(frozen=True, slots=True)
class FileNames:
    """Names of the files in an access point; each is an option of `[payload_interaction]`."""

    worker_attributes_file: str = "worker_attributes.json"
    job_report_file: str = "jobReport.json"
    event_status_dump_json_file: str = "event_status.dump.json"
    job_request_file: str = "worker_requestjob.json"
    job_spec_file: str = "HPCJobs.json"
    event_request_file: str = "worker_requestevents.json"
    event_ranges_file: str = "JobsEventRanges.json"
    update_events_file: str = "worker_updateevents.json"
    xml_pool_catalog_file: str = "PoolFileCatalog_H.xml"
    panda_ids_file: str = "worker_pandaids.json"
    kill_worker_file: str = "kill_worker.json"
    heartbeat_file: str = "worker_heartbeat.json"
    task_work_state_file: str = "state.json"

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy; `FileNames(**...)` brings it back."""
        return asdict(self)


UNNAMED_JOB_SPEC_FILE = "pandaJobData.out"
"""What Harvester calls the job specification where its configuration has no `jobSpecFile`."""

QUEUE_NAMES: Mapping[str, str] = {
    "worker_attributes_file": "jsonAttrsFileName",
    "job_report_file": "jsonJobReport",
    "event_status_dump_json_file": "jsonOutputsFileName",
    "job_request_file": "jsonJobRequestFileName",
    "job_spec_file": "jobSpecFileName",
    "event_request_file": "jsonEventsRequestFileName",
    "event_ranges_file": "jsonEventsFeedFileName",
    "update_events_file": "jsonEventsUpdateFileName",
    "xml_pool_catalog_file": "xmlPoolCatalogFileName",
    "panda_ids_file": "pandaIDsFile",
    "kill_worker_file": "killWorkerFile",
    "heartbeat_file": "heartbeatFile",
    "task_work_state_file": "taskWorkStateFile",
}
"""What a queue's messenger calls the fields of `FileNames`."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What the configuration of a queue says, as far as a worker must know it."""

    name: str
    source: str
    names: Mapping[str, str]
    """Fields of `FileNames` that the queue renames."""
    map_type: str
    """As it stands there; empty: nothing is said."""


def option_name(field: str) -> str:
    """What Harvester calls a field of `FileNames`: `jobSpecFile`."""
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def variable_name(field: str) -> str:
    """The environment variable that overrides it: `HARVESTER_JOB_SPEC_FILE`."""
    return f"HARVESTER_{field.upper()}"


def load_queue(config_file: Path | None, name: str | None, environ: Mapping[str, str]) -> Queue | None:
    """The queue called `name` in a `panda_queueconfig.json`, its template included; None where no file is named.

    By default file and name are those in `HARVESTER_QUEUE_CONFIG` and `HARVESTER_QUEUE`; a file with one queue needs no name.
    Raises InvalidInput.
    """
    if config_file is None and environ.get(QUEUE_CONFIG_VARIABLE):
        config_file = Path(environ[QUEUE_CONFIG_VARIABLE])
    name = name or environ.get(QUEUE_VARIABLE, "")
    if config_file is None:
        if name:
            raise InvalidInput("--queue", "", f"is {name!r}, and no file tells of queues", expected="--queue-config")
        return None
    source = str(config_file)
    queues = _queues(config_file)
    name = name or next(iter(queues)) if len(queues) == 1 else name
    if name not in queues:
        known = ", ".join(sorted(queues)) or "none"
        problem = f"has no queue {name!r}" if name else "has several queues, and none was named"
        raise InvalidInput(source, "", problem, expected=f"one of {known}", hint="Give --queue")
    said = queues[name]
    messenger = said.get("messenger")
    messenger = messenger if isinstance(messenger, dict) else {}
    if messenger.get("jobSpecFileFormat", "json") != "json":
        place = f"{name}.messenger.jobSpecFileFormat"
        raise InvalidInput(source, place, f"is {messenger['jobSpecFileFormat']!r}", expected="json")
    renamed = {field: messenger[key] for field, key in QUEUE_NAMES.items() if key in messenger}
    names = {
        field: _checked(file if isinstance(file, str) else "", source, f"{name}.messenger.{QUEUE_NAMES[field]}")
        for field, file in renamed.items()
    }
    return Queue(name, source, names, str(said.get("mapType") or ""))


def load_file_names(config_file: Path | None, environ: Mapping[str, str], queue: Queue | None = None) -> FileNames:
    """The names in force: Harvester's defaults, then `config_file` (by default the one in `HARVESTER_CONFIG`), then those of the
    queue, then variables.

    Raises InvalidInput for a file that cannot be read or has no `[payload_interaction]`, and for what is no file name.
    """
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    said: dict[str, tuple[str, str, str]] = {}
    if config_file is not None:
        section = _section(config_file)
        # configparser makes option names lower case, as Harvester's own reader does
        options = {field: section.get(option_name(field).lower()) for field in _FIELDS}
        if options["job_spec_file"] is None:
            options["job_spec_file"] = UNNAMED_JOB_SPEC_FILE
        said |= {field: (name, str(config_file), option_name(field)) for field, name in options.items() if name is not None}
    if queue is not None:
        said |= {field: (name, queue.source, QUEUE_NAMES[field]) for field, name in queue.names.items()}
    overrides = {field: environ.get(variable_name(field)) for field in _FIELDS}
    said |= {field: (name, "environment", variable_name(field)) for field, name in overrides.items() if name}
    names = replace(FileNames(), **{field: _checked(*values) for field, values in said.items()})
    _check_distinct(names, said)
    return names


def load_map_type(given: str | None, environ: Mapping[str, str], queue: Queue | None = None) -> MapType:
    """The mapping of the queue: what the command says, else the environment, else its configuration, else OneToOne.

    Raises InvalidInput for what is none, and where command and configuration disagree: what is told would not get through.
    """
    text, source = (given, "--map-type") if given else (environ.get(MAP_TYPE_VARIABLE, ""), MAP_TYPE_VARIABLE)
    chosen = _map_type(text, source) if text else None
    configured = _map_type(queue.map_type, f"{queue.source}: {queue.name}.mapType") if queue and queue.map_type else None
    if chosen and configured and chosen is not configured:
        raise InvalidInput(source, "", f"is {chosen}", expected=f"{configured}, as {queue.source if queue else ''} says")
    return chosen or configured or MapType.ONE_TO_ONE


def _map_type(text: str, source: str) -> MapType:
    for kind in MapType:
        if kind.lower() == text.strip().lower():
            return kind
    hint = "Queues that put several jobs in one worker are not served" if "many" in text.lower() else ""
    raise InvalidInput(source, "", f"is {text!r}", expected=" or ".join(MapType), hint=hint)


_FIELDS = tuple(field.name for field in fields(FileNames))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]*", re.ASCII)


def _section(path: Path) -> Mapping[str, str]:
    # other sections hold percent signs and doubled options, which are none of our business
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"), str(path))
    except OSError as problem:
        raise InvalidInput(str(path), "", f"cannot be read: {problem.strerror}", expected="panda_harvester.cfg") from problem
    except configparser.Error as problem:
        what = str(problem).splitlines()[0]
        raise InvalidInput(str(path), "", f"is no configuration file: {what}", expected="panda_harvester.cfg") from problem
    if not parser.has_section(SECTION):
        found = ", ".join(parser.sections()) or "none"
        raise InvalidInput(str(path), f"[{SECTION}]", "is missing", expected=f"that section (found: {found})")
    return dict(parser.items(SECTION))


def _queues(path: Path) -> dict[str, dict[str, object]]:
    """Queues by name, each with what its template says, as Harvester puts the two together. Raises InvalidInput."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InvalidInput(str(path), "", f"cannot be read: {problem.strerror}", expected="panda_queueconfig.json") from problem
    except (ValueError, RecursionError) as problem:
        raise InvalidInput(str(path), "", f"is no JSON: {problem}", expected="panda_queueconfig.json") from problem
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise InvalidInput(str(path), "", "is no mapping of queues", expected='{"<queue>": {"messenger": {...}, ...}}')
    templates = {name for name, entry in document.items() if entry.get("isTemplateQueue") is True or name.endswith("_TEMPLATE")}
    return {
        name: _with_template(entry, document.get(entry.get("templateQueueName") or "", {}))
        for name, entry in document.items()
        if name not in templates
    }


def _with_template(queue: dict[str, object], template: dict[str, Any]) -> dict[str, object]:
    whole = {**template, **queue}
    for key, value in queue.items():
        if isinstance(value, dict) and isinstance(template.get(key), dict):
            whole[key] = {**template[key], **value}
    return whole


def _checked(name: str, source: str, field: str) -> str:
    name = name.strip()
    if not _NAME.fullmatch(name):
        hint = "The files of a worker are all in its access point" if "/" in name else ""
        raise InvalidInput(source, field, f"is {name!r}", expected="the name of a file, without a directory", hint=hint)
    return name


def _check_distinct(names: FileNames, said: Mapping[str, tuple[str, str, str]]) -> None:
    used: dict[str, str] = {}
    for field in _FIELDS:
        name = getattr(names, field)
        other = used.setdefault(name, field)
        if other != field:
            _, source, place = said.get(field) or said[other]
            raise InvalidInput(source, place, f"{name!r} is {option_name(other)} as well", expected="a name for each file")
