"""Event ranges as PanDA hands them out: `JobsEventRanges.json`, and the ids of ranges.

Two kinds of id exist. PanDA's has five numbers, `<jediTaskID>-<PandaID>-<fileID>-<job_processID>-<attemptNr>`; a site that cuts
the files itself counts events, `<lfn>-<n>`. Text of five numbers is always PanDA's.

Rules: a file of ranges is refused as a whole at its first wrong range, because a range that is skipped silently is an event lost;
an empty list is no mistake, it is PanDA's way of saying that there is no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from raythena.domain.admission import MAX_EVENTS, check_guid, check_lfn
from raythena.domain.document import FieldPath, read_json, shown
from raythena.domain.ranges import EventRange
from raythena.domain.scan.trial import POINTS_LFN, Point, finite

_PANDA_ID = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,19})-(\d{1,19})-(\d{1,10})", re.ASCII)
_LOCAL_ID = re.compile(r"(?P<lfn>.+)-(?P<event>[1-9]\d{0,9})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class EventRangeId:
    """The id of a range that PanDA handed out. `str()` gives the wire form."""

    task_id: int
    panda_id: int
    file_id: int
    process_id: int
    """Number of the range within its file; the point id in hyper-parameter jobs."""
    attempt: int
    """PanDA counts down: the attempts that are left."""

    def __str__(self) -> str:
        return f"{self.task_id}-{self.panda_id}-{self.file_id}-{self.process_id}-{self.attempt}"


@dataclass(frozen=True, slots=True, order=True)
class LocalRangeId:
    """The id of a range a site cut itself: one event, counted from 1 in its file. `str()` gives the wire form."""

    lfn: str
    event: int

    def __str__(self) -> str:
        return f"{self.lfn}-{self.event}"


def parse_range_id(place: FieldPath) -> EventRangeId | LocalRangeId:
    """The id in the text at `place`, in either form. Raises InvalidInput."""
    expected = "taskID-PandaID-fileID-processID-attempt or <file name>-<event>"
    text = place.text(expected)
    if match := _PANDA_ID.fullmatch(text):
        return EventRangeId(*map(int, match.groups()))
    if match := _LOCAL_ID.fullmatch(text):
        check_lfn(FieldPath(place.source, place.field, match["lfn"]))
        return LocalRangeId(match["lfn"], int(match["event"]))
    raise place.refuse(f"is {shown(text)}", expected=expected)


def parse_event_ranges(text: str, source: str, pfn_of: Mapping[str, str]) -> dict[str, tuple[EventRange, ...]]:
    """The ranges of every job in the text of a `JobsEventRanges.json`, by PandaID.

    `pfn_of` gives the path of every input file by LFN. Raises InvalidInput: torn or empty text, a range that lacks something,
    whose events are not a stretch counted from 1, of an unknown file, or that is listed twice.
    """
    root = FieldPath(source, "", read_json(text, source))
    if not isinstance(root.value, dict):
        raise root.refuse(f"is {shown(root.value)}", expected='ranges by job, {"<PandaID>": [...]}')
    return {key: _job_ranges(root.entry(key), key, pfn_of) for key in root.value}


def _job_ranges(place: FieldPath, key: str, pfn_of: Mapping[str, str]) -> tuple[EventRange, ...]:
    if not re.fullmatch(r"\d+", key, re.ASCII):
        raise place.refuse(f"stands under {shown(key)}", expected="a PandaID")
    seen: dict[str, str] = {}
    return tuple(_range(item, pfn_of, seen) for item in place.items())


def _range(place: FieldPath, pfn_of: Mapping[str, str], seen: dict[str, str]) -> EventRange:
    """One range; `seen` maps the ids so far to where they stand."""
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="a range with eventRangeID, LFN, startEvent and lastEvent")
    id_place, lfn_place = place.entry("eventRangeID"), place.entry("LFN")
    found = parse_range_id(id_place)
    range_id = str(found)
    if range_id in seen:
        raise id_place.refuse(f"the range {range_id} is listed twice", expected=f"another than {seen[range_id]}")
    seen[range_id] = id_place.field
    if place.entry("hp_point").given and isinstance(found, EventRangeId) and POINTS_LFN in pfn_of:
        return _point_range(place.entry("hp_point"), found, pfn_of[POINTS_LFN])
    lfn = lfn_place.text("the name of an input file")
    if lfn not in pfn_of:
        raise lfn_place.refuse(f"{shown(lfn)} is no input file of the job", expected=_some(pfn_of))
    first, last = _events(place)
    guid = place.entry("GUID")
    scope = _optional_text(place.entry("scope"))
    return EventRange(range_id, lfn, pfn_of[lfn], check_guid(guid) if guid.value else "", first, last, scope)


def _point_range(place: FieldPath, range_id: EventRangeId, pfn: str) -> EventRange:
    """A point of a hyper-parameter scan, as iDDS describes it: `{"id", "parameters", "loss"}`; the range says nothing else.

    In a scan with segments `parameters` is a pair of the segment's name and the parameters.
    """
    parameters, loss = place.entry("parameters"), place.entry("loss")
    pair = isinstance(parameters.value, list) and len(parameters.value) == 2 and isinstance(parameters.value[1], dict)
    if not isinstance(parameters.value, dict) and not pair:
        raise parameters.refuse(f"is {shown(parameters.value)}", expected="parameters by name, or a segment with parameters")
    number = range_id.process_id
    point = Point(number, parameters.plain(), known=finite(loss) if loss.given else None)
    return EventRange(str(range_id), POINTS_LFN, pfn, "", number, number, point=point.to_text())


def _events(place: FieldPath) -> tuple[int, int]:
    first = _event_number(place.entry("startEvent"), 1)
    return first, _event_number(place.entry("lastEvent"), first)


def _event_number(place: FieldPath, minimum: int) -> int:
    value = place.value
    # numbers arrive as text from some servers
    number = int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value, re.ASCII) else value
    if number is None:
        raise place.refuse("is missing", expected="an event number")
    return FieldPath(place.source, place.field, number).count(minimum=minimum, maximum=MAX_EVENTS)


def _optional_text(place: FieldPath) -> str:
    return place.text() if place.value else ""


def _some(pfn_of: Mapping[str, str]) -> str:
    names = list(pfn_of)
    return "one of " + ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
