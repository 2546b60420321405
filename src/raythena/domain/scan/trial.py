"""A point of a scan, what a trial at it gives back, and how both are written.

A point travels as JSON text with its event range (`EventRange.point`); what comes back is the output of that range, JSON as well.
What a training program writes (`output.json`) is read here, strictly: a loss is a finite number, and whatever else stands in its
place makes the attempt a failure. Nothing that is no number ever reaches a searcher.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raythena.domain.document import FieldPath, read_json, shown
from raythena.domain.scan.search_space import Values

OUTPUT_PREFIX = "trial"
"""Results are called `trial.<range id>`."""
POINTS_LFN = "hyperparameter.points"
"""The input file of jobs whose points come from PanDA: there is none, but every event range has one."""
MAX_OUTPUT_BYTES = 1_000_000
"""Of what a program writes about one trial."""
MAX_REPORTS = 10_000
"""Intermediate losses kept of one trial."""

Bounds = tuple[tuple[float, float], ...]
"""(step, worst value allowed at this step or the first one behind it) in ascending order of steps."""


@dataclass(frozen=True, slots=True)
class Point:
    """Values that are to be tried."""

    number: int
    """From 1, in the order in which points were proposed."""
    parameters: Values
    bounds: Bounds = ()
    """Where a trial ends early."""
    known: float | None = None
    """The loss that whoever hands points out has for this one already: nothing is to be computed."""
    parent: int | None = None
    """The point whose checkpoint this one starts from."""

    def to_text(self) -> str:
        """As it travels."""
        document: dict[str, object] = {"number": self.number, "parameters": self.parameters}
        if self.bounds:
            document["bounds"] = self.bounds
        if self.known is not None:
            document["known"] = self.known
        if self.parent is not None:
            document["parent"] = self.parent
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Point:
        """What `to_text` wrote. Trusts its input: it is our own."""
        document = json.loads(text)
        bounds = tuple((float(step), float(bound)) for step, bound in document.get("bounds", ()))
        return cls(document["number"], document["parameters"], bounds, document.get("known"), document.get("parent"))


@dataclass(frozen=True, slots=True)
class TrialReport:
    """A value the training reported on its way."""

    step: float
    value: float
    wall_s: float
    """Since the trial began."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial gave back."""

    number: int
    parameters: Values
    values: Mapping[str, float]
    """By objective, all of them finite."""
    stopped_early: bool = False
    reports: tuple[TrialReport, ...] = ()
    wall_s: float = 0.0
    metrics: Mapping[str, object] = field(default_factory=dict)
    """Whatever else the program wrote."""

    def to_bytes(self) -> bytes:
        """As it is stored."""
        document = {
            "number": self.number,
            "parameters": self.parameters,
            "values": self.values,
            "stopped_early": self.stopped_early,
            "reports": [(each.step, each.value, round(each.wall_s, 3)) for each in self.reports],
            "wall_s": round(self.wall_s, 3),
            "metrics": self.metrics,
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> TrialResult:
        """What `to_bytes` wrote. Trusts its input: it is our own."""
        document = json.loads(content)
        reports = tuple(TrialReport(*each) for each in document.pop("reports"))
        return cls(reports=reports, **document)


def finite(place: FieldPath) -> float:
    """The number at `place`, a loss or a bound of the space: a finite one. Raises InvalidInput for anything else."""
    value = place.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.refuse("is missing" if value is None else f"is {shown(value)}", expected="a number")
    try:
        number = float(value)
    except OverflowError:
        raise place.refuse("is too large", expected="a number that a float can hold") from None
    if not math.isfinite(number):
        raise place.refuse(f"is {shown(value)}", expected="a finite number")
    return number


def parse_output(content: bytes, source: str, objectives: Sequence[str]) -> tuple[dict[str, float], dict[str, object]]:
    """(value of every objective, everything else) in what a program wrote about a trial.

    `{"status": 0, "loss": 0.25, "message": "..."}`, with a key for each objective. Raises InvalidInput: no JSON, a status that is
    not 0, a value that is no finite number.
    """
    if len(content) > MAX_OUTPUT_BYTES:
        raise FieldPath(source, "", None).refuse(f"has {len(content):,} bytes", expected=f"at most {MAX_OUTPUT_BYTES:,}")
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise FieldPath(source, "", None).refuse(f"is not UTF-8: {problem.reason}", expected="JSON") from problem
    place = FieldPath(source, "", read_json(text, source))
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="an object with status and " + ", ".join(objectives))
    return checked_output(place, objectives)


def checked_output(place: FieldPath, objectives: Sequence[str]) -> tuple[dict[str, float], dict[str, object]]:
    """See `parse_output`, for what was read already."""
    status = place.entry("status")
    if status.given and (isinstance(status.value, bool) or status.value != 0):
        message = place.value.get("message")
        raise status.refuse(f"is {shown(status.value)}" + (f": {message}" if isinstance(message, str) else ""), expected="0")
    values = {name: finite(place.entry(name)) for name in objectives}
    others: dict[str, object] = place.plain()
    return values, {key: value for key, value in others.items() if key not in values and key != "status"}
