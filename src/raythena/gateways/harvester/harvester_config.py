"""What a site has set in Harvester's configuration and we must know: the names of the files in an access point.

Harvester reads them from the section `[payload_interaction]` of `panda_harvester.cfg`. We read the same section of the same file;
what it does not say has Harvester's default. An environment variable `HARVESTER_<OPTION>` overrides an option, for sites whose
compute nodes do not see that file: `jobSpecFile` is `HARVESTER_JOB_SPEC_FILE`.

Some facts are in no file, because Harvester does not tell its workers: how the queue maps jobs to workers (`mapType`), whether it
binds jobs late, which worker this is. They come from options of the command or from the environment.
"""

from __future__ import annotations

import configparser
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

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy; `FileNames(**...)` brings it back."""
        return asdict(self)


def option_name(field: str) -> str:
    """What Harvester calls a field of `FileNames`: `jobSpecFile`."""
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def variable_name(field: str) -> str:
    """The environment variable that overrides it: `HARVESTER_JOB_SPEC_FILE`."""
    return f"HARVESTER_{field.upper()}"


def load_file_names(config_file: Path | None, environ: Mapping[str, str]) -> FileNames:
    """The names in force: Harvester's defaults, then `config_file` (by default the one in `HARVESTER_CONFIG`), then variables.

    Raises InvalidInput for a file that cannot be read or has no `[payload_interaction]`, and for what is no file name.
    """
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    said: dict[str, tuple[str, str, str]] = {}
    if config_file is not None:
        section = _section(config_file)
        # configparser makes option names lower case, as Harvester's own reader does
        options = {field: section.get(option_name(field).lower()) for field in _FIELDS}
        said |= {field: (name, str(config_file), option_name(field)) for field, name in options.items() if name is not None}
    overrides = {field: environ.get(variable_name(field)) for field in _FIELDS}
    said |= {field: (name, "environment", variable_name(field)) for field, name in overrides.items() if name}
    names = replace(FileNames(), **{field: _checked(*values) for field, values in said.items()})
    _check_distinct(names, said)
    return names


def load_map_type(given: str | None, environ: Mapping[str, str]) -> MapType:
    """The mapping of the queue: what the command says, else the environment, else OneToOne. Raises InvalidInput."""
    text, source = (given, "--map-type") if given else (environ.get(MAP_TYPE_VARIABLE, ""), MAP_TYPE_VARIABLE)
    if not text:
        return MapType.ONE_TO_ONE
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
