"""What a pilot's request says, whichever dialect it speaks. No I/O.

Older pilots send forms to `/server/panda/<name>`. Newer ones send JSON, compressed with gzip and mostly without saying so, and
know `/api/v1/<group>/<name>` besides, with names in snake case; when they fall back on curl they put that whole path behind
`/server/panda/`. Event calls are forms in both. So the header fields are ignored and the bytes are believed: the magic number of
gzip, then the first character of JSON, then a form.

Rules: nothing is larger than `MAX_BODY_BYTES` after decompression, whatever it was before; what cannot be understood is a
`BadRequest`, which the server answers politely, because a pilot takes minutes to get over an impolite answer.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Of a request, before and after decompression. A job report may have some megabytes, 10,000 results have three."""
MAX_FIELDS = 10_000
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_ALIASES = {
    "acquire_jobs": "getJob",
    "update_job": "updateJob",
    "acquire_event_ranges": "getEventRanges",
    "get_event_ranges": "getEventRanges",
    "update_event_ranges": "updateEventRanges",
    "get_resource_types": "getResourceTypes",
    "update_worker_status": "updateWorkerPilotStatus",
}
"""Names under `/api/v1`, and what they were called before."""
_FIELDS = {
    "job_status": "state",
    "panda_id": "pandaID",
    "jobset_id": "jobsetID",
    "task_id": "taskID",
    "batch_id": "batchID",
    "pilot_id": "pilotID",
    "scheduler_id": "schedulerID",
    "harvester_id": "harvesterID",
    "worker_id": "workerID",
}
"""Fields under `/api/v1` whose older name is not the same words in one."""


class BadRequest(Exception):
    """The request makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood."""

    endpoint: str
    """In its older spelling, for example `getEventRanges`; as it came when we know no such thing."""
    fields: Mapping[str, object]
    modern: bool = False
    """It came to `/api/v1`, where answers have another envelope."""

    def text(self, name: str) -> str:
        """A field as text; empty when it is absent."""
        value = self.fields.get(name)
        return "" if value is None else str(value)

    def count(self, name: str, default: int) -> int:
        """A field as a whole number that is not negative; `default` when it is none."""
        text = self.text(name).strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def read_call(path: str, query: str, body: bytes) -> Call:
    """Understand a request. Raises BadRequest."""
    parts = [part for part in path.split("/") if part]
    modern = parts[:2] == ["api", "v1"] or parts[:4] == ["server", "panda", "api", "v1"]
    name = parts[-1] if parts else ""
    fields = {**_form(query), **read_fields(body)}
    if not modern or name not in _ALIASES:
        return Call(name, fields, modern)
    return Call(_ALIASES[name], {_older(field): value for field, value in fields.items()}, modern)


def _older(name: str) -> str:
    """The older name of a field: `pilot_error_code` was `pilotErrorCode`; one that is old stays."""
    first, *others = name.split("_")
    return _FIELDS.get(name) or first + "".join(word[:1].upper() + word[1:] for word in others)


def read_fields(body: bytes) -> dict[str, object]:
    """The fields of a body: a form or a JSON object, plain or compressed. Raises BadRequest."""
    plain = decompressed(body) if body.startswith(_GZIP) else body
    if len(plain) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has more than {MAX_BODY_BYTES} bytes")
    if plain.lstrip()[:1] in (b"{", b"["):
        return _json_object(plain)
    return _form(plain.decode("utf-8", "replace"))


def decompressed(body: bytes) -> bytes:
    """What gzip has packed, as far as `MAX_BODY_BYTES`. Raises BadRequest."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as problem:
        raise BadRequest(f"the body is no gzip: {problem}") from None
    if len(plain) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has more than {MAX_BODY_BYTES} bytes when decompressed")
    if not unpacker.eof:
        raise BadRequest("the compressed body ends too early")
    return plain


def read_json(text: str | bytes) -> object:
    """JSON from a stranger. Raises BadRequest."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"this is no JSON: {problem}") from None


def _json_object(plain: bytes) -> dict[str, object]:
    document = read_json(plain)
    if not isinstance(document, dict):
        raise BadRequest("the body is JSON, but no object")
    return document


def _form(text: str) -> dict[str, object]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as problem:
        raise BadRequest(f"the form cannot be read: {problem}") from None
