"""What a payload tells of itself for the job report: its starts, what its cores waited for, what its transforms say.

Each life of a node's payload keeps one account, in its log directory; `together` is all of them in the job report, whose size
does not depend on how many there were.

Rules: an account is an estimate made in passing. What cannot be read is left out, and nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

FILE_NAME = "payload.json"


@dataclass(frozen=True, slots=True)
class PayloadAccount:
    """One payload on one node. Times are seconds."""

    kind: str
    transforms: int = 0
    """Starts of a transform."""
    pilots: int | None = None
    """Starts of a pilot; None where there are none."""
    waiting: Mapping[str, float | None] = field(default_factory=dict)
    """What cores waited for: the fields of `payloads.latency.LatencySummary`."""
    reports: int = 0
    """Transforms that wrote a job report of their own. In event-service mode most write none."""
    resource: Mapping[str, float] = field(default_factory=dict)
    """`resource.transform` of those reports, added up."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: object) -> PayloadAccount:
        """Raises ValueError, TypeError for what is no account."""
        if not isinstance(document, dict):
            raise TypeError("an account is an object")
        account = cls(**document)
        counts = (account.transforms, account.reports, account.pilots or 0)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("an account counts starts in whole numbers")
        if not isinstance(account.waiting, dict):
            raise TypeError("an account says what was waited for in an object")
        waiting = numbers(account.waiting)
        return cls(account.kind, account.transforms, account.pilots, waiting, account.reports, numbers(account.resource))


def transform_resource(report: object) -> dict[str, float] | None:
    """The numbers of `resource.transform` in a transform's job report; None when it says nothing of it. Ratios are left out."""
    resource = report.get("resource") if isinstance(report, dict) else None
    transform = resource.get("transform") if isinstance(resource, dict) else None
    if not isinstance(transform, dict):
        return None
    return {name: value for name, value in numbers(transform).items() if not name.endswith("Efficiency")}


def numbers(values: object) -> dict[str, float]:
    """The finite numbers of an object, by name; of what is none, nothing."""
    if not isinstance(values, Mapping):
        return {}
    usable = ((str(name), value) for name, value in values.items() if isinstance(value, int | float))
    return {name: value for name, value in usable if not isinstance(value, bool) and abs(value) < 1e18}


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Two objects of numbers, name by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in dict.fromkeys((*one, *other))}


def together(accounts: Iterable[PayloadAccount]) -> dict[str, object] | None:
    """All accounts of a task, for the job report; None when there is none."""
    known = list(accounts)
    if not known:
        return None
    resource: dict[str, float] = {}
    for account in known:
        resource = added(resource, account.resource)
    pilots = [account.pilots for account in known if account.pilots is not None]
    return {
        "kinds": sorted({account.kind for account in known}),
        "lives": len(known),
        "starts": {"pilots": sum(pilots) if pilots else None, "transforms": sum(account.transforms for account in known)},
        "waiting": _waiting([account.waiting for account in known]),
        "transform": {"reports": sum(account.reports for account in known), **_rounded(resource)},
    }


def _waiting(all_waits: Sequence[Mapping[str, float | None]]) -> dict[str, float | int | None]:
    waits = sum(each.get("waits") or 0 for each in all_waits)
    waited_s = sum((each.get("waits") or 0) * (each.get("mean_wait_s") or 0.0) for each in all_waits)
    return {
        "first_range_s": _longest(all_waits, "first_range_s"),
        "waits": round(waits),
        "mean_wait_s": round(waited_s / waits, 6) if waits else None,
        "longest_wait_s": _longest(all_waits, "longest_wait_s"),
        "starved": round(sum(each.get("starved") or 0 for each in all_waits)),
        "starved_s": round(sum(each.get("starved_s") or 0.0 for each in all_waits), 3),
        "exit_s": _longest(all_waits, "exit_s"),
    }


def _longest(all_waits: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    values = [value for each in all_waits if (value := each.get(name)) is not None]
    return round(max(values), 6) if values else None


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
