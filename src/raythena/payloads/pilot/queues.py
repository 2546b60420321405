"""Where the queue's object and the storage endpoints come from that a pilot finds in its launch directory.

Rules: the first place that knows the queue wins: what the payload section gives, the directory into which Harvester's cacher
writes, CVMFS. What is found is handed on untouched. Only a section that names no queue gets one made up, without containers and
transfers: a pilot at a queue of the site's would do something else than the site thinks. A file that is there and cannot be read
is an error, never a reason to look elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.payloads.pilot.pilot_options import DEFAULT_QUEUE, PilotOptions, load_json
from raythena.payloads.plugin_options import PREFIX

QUEUE_FILES = ("cric_pandaqueues.json", "panda_queues.json", "agis_schedconf.json")
"""What a file of all queues is called, in the order in which they are looked for."""
ENDPOINT_FILES = ("cric_ddmendpoints.json", "ddmendpoints.json", "ddmendpoints_objectstores.json", "agis_ddmendpoints.json")
SOFTWARE_BASE = "ATLAS_SW_BASE"
"""Environment variable: where CVMFS is, if not at `/cvmfs`."""
_ON_CVMFS = Path("atlas.cern.ch/repo/sw/local/etc")
_FILES_OF_ONE = ("{}_queuedata.json", "{}.json")
_ENOUGH_MB = 10_000_000


def default_queue(name: str) -> dict[str, object]:
    """A queue object that lets a pilot run its job where it is, without containers or transfers."""
    return {
        "name": name,
        "nickname": name,
        "panda_resource": name,
        "atlas_site": name,
        "resource_type": "GRID",
        "type": "unified",
        "state": "ACTIVE",
        "status": "online",
        "appdir": "",
        "catchall": "",
        "cloud": "",
        "container_type": "",
        "container_options": "",
        "copytools": {"cp": {"setup": ""}},
        "acopytools": {"pr": ["cp"], "pw": ["cp"], "pl": ["cp"]},
        "astorages": {},
        "allow_lan": True,
        "allow_wan": False,
        "is_cvmfs": False,
        "zip_time_gap": 10,
        "maxinputsize": _ENOUGH_MB,
        "maxwdir": _ENOUGH_MB,
        "maxtime": 0,
        "maxrss": 0,
        "timefloor": 0,
        "corecount": 1,
        "params": {"internet_protocol_version": "IPv4"},
    }


def queue_object(options: PilotOptions, environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """The object of the section's queue. Raises InvalidInput, PayloadError."""
    if options.queuedata is not None:
        return _given_queue(options)
    name = options.queue
    if name == DEFAULT_QUEUE:
        return default_queue(name)
    of_one = tuple(pattern.format(name) for pattern in _FILES_OF_ONE)
    looked_at = []
    for path in _places(options, environment, (*of_one, *QUEUE_FILES), QUEUE_FILES[0]):
        looked_at.append(str(path))
        if path.is_file():
            document = load_json(path, "job", "queue")
            found = _queue_in(document, name)
            if found is None and path.name not in QUEUE_FILES:
                found = _one_queue(document)
            if found is not None:
                return found
    raise InvalidInput(
        "job",
        f"{PREFIX}.queue",
        f"{name!r} is not known; looked at {', '.join(looked_at)}",
        expected="a queue one of these files knows",
        hint="Give its object as `queuedata`, or the directory of Harvester's cacher as `cacher`",
    )


def endpoints(options: PilotOptions, environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """The storage endpoints by name; none where nobody knows any. Raises InvalidInput."""
    given = options.ddmendpoints
    if isinstance(given, Mapping):
        return dict(given)
    if given is None and options.queue != DEFAULT_QUEUE:
        given = next(filter(Path.is_file, _places(options, environment, ENDPOINT_FILES, ENDPOINT_FILES[0])), None)
    if given is None:
        return {}
    document = load_json(given, "job", "ddmendpoints")
    if not isinstance(document, dict):
        raise InvalidInput("job", f"{PREFIX}.ddmendpoints", f"{given} holds no object", expected="endpoints by name")
    return document


def _given_queue(options: PilotOptions) -> dict[str, object]:
    given = options.queuedata
    document = load_json(given, "job", "queuedata") if isinstance(given, Path) else given
    if not isinstance(document, Mapping):
        raise PayloadError("pilot: queuedata is no object; expected one queue, or queues by name")
    found = _queue_in(document, options.queue) or _one_queue(document)
    if found is None:
        known = ", ".join(sorted(map(str, document))[:5])
        raise PayloadError(f"pilot: queuedata knows no queue {options.queue!r}; it has {known}")
    return found


def _queue_in(document: object, queue: str) -> dict[str, object] | None:
    """The queue's object in a document of many."""
    found = document.get(queue) if isinstance(document, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else None


def _one_queue(document: object) -> dict[str, object] | None:
    """The document, if it is the object of one queue."""
    if isinstance(document, Mapping) and any(isinstance(document.get(name), str) for name in ("status", "state")):
        return dict(document)
    return None


def _places(options: PilotOptions, environment: Mapping[str, str], in_cacher: tuple[str, ...], on_cvmfs: str) -> Iterator[Path]:
    """The files to look at, in order."""
    if options.cacher is not None:
        for name in in_cacher:
            if "/" not in name:
                yield options.cacher / name
    yield Path(environment.get(SOFTWARE_BASE) or "/cvmfs") / _ON_CVMFS / on_cvmfs
