"""A failing site made as simple as it can be while it still breaks the same promise.

One thing at a time is taken away: a kind of fault, a setting that is not the usual one, nodes, events. What still fails is kept.
With one thing less everything else is drawn anew, so a few seeds are tried each time. The outcome is not the smallest there is,
but what is left in it usually matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from raythena.testing.simulation.judge import PromiseBroken
from raythena.testing.simulation.plan import Plan, default_of
from raythena.testing.simulation.site import simulate
from raythena.testing.simulation.site_parts import Parts

_SEEDS = 25
_MAX_EVENTS = 50_000
"""Simulated in all tries together: half a minute, about."""
_PARTICULARS = re.compile(r"\d+|\[.*|\(.*")
_KEPT = frozenset({"events_per_input", "events_per_output", "nodes", "cores", "mean_event_s", "trouble_s"})


def shrink(seed: int, plan: Plan, broken: PromiseBroken, parts: Parts | None = None) -> tuple[int, Plan, PromiseBroken]:
    """The simplest plan found that breaks the promise, with which seed, and how it does."""
    left = _MAX_EVENTS
    candidates = _simpler(plan)
    while left > 0 and (candidate := next(candidates, None)) is not None:
        for another in range(seed, seed + _SEEDS):
            left -= candidate.n_events
            still = _outcome(another, candidate, parts)
            if still is not None and _gist(still) == _gist(broken):
                seed, plan, broken = another, candidate, still
                candidates = _simpler(plan)
                break
    return seed, plan, broken


def _outcome(seed: int, plan: Plan, parts: Parts | None) -> PromiseBroken | None:
    try:
        simulate(seed, plan, parts)
    except PromiseBroken as broken:
        return broken
    return None


def _gist(broken: PromiseBroken) -> str:
    return _PARTICULARS.sub("", broken.promise)


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the boldest steps first."""
    for slot in fields(plan):
        usual: dict[str, Any] = {slot.name: default_of(slot)}
        if slot.name not in _KEPT and getattr(plan, slot.name) != usual[slot.name]:
            yield replace(plan, **usual)
    if len(plan.events_per_input) > 1:
        yield replace(plan, events_per_input=plan.events_per_input[:1])
        yield replace(plan, events_per_input=plan.events_per_input[1:])
    if max(plan.events_per_input) > 1:
        yield replace(plan, events_per_input=tuple(max(1, count // 2) for count in plan.events_per_input))
    for name in ("nodes", "cores"):
        if getattr(plan, name) > 1:
            yield _fewer(plan, name, getattr(plan, name) // 2)
    for name in ("crashes", "deaths", "cuts", "partitions", "payload_crashes", "stalls", "stops", "freezes", "intruders"):
        if getattr(plan, name) > 1:
            yield _fewer(plan, name, getattr(plan, name) - 1)


def _fewer(plan: Plan, name: str, count: int) -> Plan:
    smaller: dict[str, Any] = {name: count}
    return replace(plan, **smaller)
