"""Sites and their troubles, drawn by a seed.

Most sites are small: what goes wrong in a protocol goes wrong with three nodes and twenty events, and small sites can be tried by
the hundred thousand. A few are large. Each kind of trouble is absent more often than present, so that every combination of a few
of them comes up, and every one of them alone.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from raythena.engine.engine_config import BudgetConfig, DeadlineConfig, EngineConfig, SupplyConfig
from raythena.engine.exchange import ExchangeConfig
from raythena.engine.node_core import NodeConfig
from raythena.engine.restarts import AGENT_LIMITS
from raythena.testing.simulation.plan import Plan, default_of

FAULTS: dict[str, tuple[str, ...]] = {
    "network": ("loss", "late", "duplication", "cuts", "partitions"),
    "coordinator": ("crashes", "commit_kills", "freezes", "intruders"),
    "nodes": ("deaths", "slow_nodes", "late_nodes", "leaving_nodes", "bad_nodes", "frail_nodes", "frozen_agents", "loading_s"),
    "payload": ("payload_crashes", "poison", "hangs", "killers", "flaky", "broken_payloads"),
    "merges": ("merge_failure", "bad_merge", "damage"),
    "disk": ("stalls", "full_scratches", "io_errors", "slow_disk_s"),
    "walltime": ("stops", "walltime_s", "warning_s"),
    "outside": ("silences",),
}
"""Kinds of faults, and the fields of a plan that stand for them."""

_LARGE = 1 / 400
_ON_DISK = 1 / 25
_GIVEN = 1 / 4
_UNMERGED = 1 / 20
_CHAINED = 1 / 4
_PARALLEL_TO_EVENTS = 30
"""Large scans have more points open at a time: one after the other they would take for ever."""


@dataclass(frozen=True)
class Size:
    """What is not to be drawn: 0 leaves it to the seed."""

    nodes: int = 0
    cores: int = 0
    events: int = 0
    kinds: Collection[str] = tuple(FAULTS)
    """Kinds of faults that may happen, keys of `FAULTS`."""


class _Dice(random.Random):
    def some(self, most: int, chance: float = 0.3) -> int:
        """Usually none, else from 1 to `most`."""
        return self.randint(1, most) if self.random() < chance else 0

    def up_to(self, most: float, chance: float = 0.3) -> float:
        """Usually nothing, else anything below `most`."""
        return self.uniform(0.0, most) if self.random() < chance else 0.0


def draw(seed: int, size: Size | None = None) -> Plan:
    """The plan of a seed, of a wanted size."""
    size = size or Size()
    dice = _Dice(f"plan {seed}")
    plan = _with_failing_agents(dice, _troubled(dice, _site(dice, size)))
    plan = replace(plan, leaving_nodes=_Dice(f"leaving {seed}").some(max(1, plan.nodes // 2), 0.2))
    unwanted = [name for kind in FAULTS.keys() - set(size.kinds) for name in FAULTS[kind]]
    usual = {slot.name: default_of(slot) for slot in fields(Plan)}
    without: dict[str, Any] = {name: usual[name] for name in unwanted}
    retries = _Dice(f"retries {seed}").some(2, 0.4)
    parallel = _Dice(f"scan {seed}").some(8) * -(-plan.n_events // _PARALLEL_TO_EVENTS) if plan.given else 0
    return _chained(_Dice(f"upstream {seed}"), replace(plan, **without, retries=retries, parallel=parallel))


def _site(dice: _Dice, size: Size) -> Plan:
    large = dice.random() < _LARGE
    nodes = size.nodes or (dice.randint(20, 64) if large else dice.choice((1, 2, 2, 3, 3, 4, 5)))
    cores = size.cores or (dice.randint(1, 4) if large else dice.randint(1, 3))
    n_inputs = dice.randint(1, 4)
    if size.events:
        events = _shares(dice, size.events, n_inputs)
    elif size.nodes or large:
        events = _shares(dice, nodes * cores * dice.randint(3, 8), n_inputs)
    else:
        events = tuple(dice.choice((1, 3, 7, 12, 20)) for _ in range(n_inputs))
    per_output = max(1, sum(events) // dice.randint(1, 20)) if sum(events) > 100 else dice.choice((2, 5, 10, 33))
    return Plan(events, per_output, nodes, cores, dice.choice((0.05, 0.3, 1.0, 2.0)), dice.choice((0.1, 0.6, 1.2)))


def _shares(dice: _Dice, total: int, parts: int) -> tuple[int, ...]:
    cuts = sorted(dice.sample(range(1, total), min(parts, total) - 1)) if total > 1 else []
    return tuple(stop - start for start, stop in zip([0, *cuts], [*cuts, total], strict=True))


def _troubled(dice: _Dice, site: Plan) -> Plan:
    many = max(3, site.nodes // 4)
    ends = dice.random() < 0.25
    margin_s = dice.choice((0.5, 2.0, 5.0))
    killers = dice.some(1, 0.15)
    return replace(
        site,
        slow_nodes=dice.some(max(1, site.nodes // 2)),
        slowness=dice.choice((2.0, 5.0, 10.0)),
        late_nodes=dice.some(site.nodes),
        bad_nodes=dice.some(1, 0.15),
        delay_s=dice.choice((0.001, 0.02, 0.3)),
        poll_s=dice.choice((0.1, 0.25, 0.5, 0.5)),
        loss=dice.up_to(0.3),
        late=dice.up_to(0.2),
        duplication=dice.up_to(0.3),
        trouble_s=1.5 * site.ideal_s + 5.0,
        crashes=dice.some(4),
        commit_kills=dice.up_to(0.2, 0.2),
        freezes=dice.some(2, 0.2),
        intruders=dice.some(2, 0.15),
        deaths=dice.some(many),
        cuts=dice.some(many),
        partitions=dice.some(2, 0.15),
        payload_crashes=dice.some(many),
        poison=dice.some(3),
        hangs=dice.some(2, 0.2),
        hang_limit_s=max(5.0, 5.0 * site.mean_event_s),
        killers=killers,
        flaky=dice.up_to(0.1),
        merge_failure=dice.up_to(0.5),
        bad_merge=dice.up_to(0.3, 0.2),
        damage=dice.up_to(0.05),
        stalls=dice.some(2, 0.2),
        full_scratches=dice.some(many, 0.2),
        io_errors=dice.up_to(0.2, 0.2),
        slow_disk_s=dice.up_to(3.0, 0.15),
        stops=dice.some(2, 0.2),
        walltime_s=margin_s + 2.0 + dice.uniform(0.3, 1.5) * site.ideal_s if ends else 0.0,
        walltime_known=ends and dice.random() < 0.6,
        warning_s=dice.choice((0.0, 1.0, 5.0)) if ends else 0.0,
        given=dice.random() < _GIVEN,
        silences=dice.some(2),
        merged=dice.random() >= _UNMERGED,
        answer_s=dice.choice((0.1, 1.0, 5.0)),
        on_disk=dice.random() < _ON_DISK,
        engine=_engine(dice, site.nodes, margin_s, patient=killers > 0),
        node_exchange=ExchangeConfig(hungry_interval_s=dice.choice((0.1, 0.5, 0.5)), node_timeout_s=10.0),
        node=NodeConfig(group_events=dice.choice((1, 4, 64)), group_age_s=dice.choice((0.5, 3.0))),
    )


def _with_failing_agents(dice: _Dice, site: Plan) -> Plan:
    return replace(
        site,
        frail_nodes=dice.some(max(1, site.nodes // 2), 0.15),
        broken_payloads=dice.some(max(1, site.nodes // 2), 0.15),
        frozen_agents=dice.some(2, 0.15),
        loading_s=dice.up_to(50.0, 0.1),
        restarts=replace(AGENT_LIMITS, stable_s=dice.choice((60.0, 2.0)), max_failures=dice.choice((5, 5, 2))),
    )


def _chained(dice: _Dice, site: Plan) -> Plan:
    """Some of the jobs that cut their own ranges take their inputs from another task."""
    if site.given or dice.random() >= _CHAINED:
        return site
    return replace(site, upstream=True, engine=replace(site.engine, upstream_patience_s=dice.choice((60.0, 2.0))))


def _engine(dice: _Dice, nodes: int, margin_s: float, *, patient: bool) -> EngineConfig:
    return EngineConfig(
        buffer_s=dice.choice((0.5, 2.0, 10.0)),
        max_attempts=dice.choice((3, 3, 1)),
        max_losses=dice.choice((5, 5, 2)),
        max_merge_attempts=dice.choice((3, 3, 1)),
        no_node_limit_s=dice.choice((300.0, 300.0, 8.0)),
        drain_limit_s=10.0,
        abort_merge_limit_s=dice.choice((5.0, 60.0)),
        budget=_budget(dice, patient=patient),
        deadline=DeadlineConfig(margin_s=margin_s),
        supply=SupplyConfig(
            first_request=dice.choice((2, 10, 1000)),
            ahead_per_core=dice.choice((1, 4)),
            ahead_s=dice.choice((0.5, 5.0)),
            patience_s=dice.choice((7200.0, 10.0)),
            report_patience_s=dice.choice((7200.0, 12.0)),
            max_unacknowledged=dice.choice((3, 100_000)) * max(1, nodes // 5),
        ),
    )


def _budget(dice: _Dice, *, patient: bool) -> BudgetConfig:
    """Sometimes a tight one, so that jobs are given up, and resumed. An event that kills nodes must be allowed a few."""
    if patient or dice.random() < 0.75:
        return BudgetConfig()
    return BudgetConfig(
        few_lost_nodes=dice.choice((1, 3)),
        max_lost_node_fraction=0.3,
        lost_after_s=dice.choice((2.0, 20.0)),
        few_failed_events=dice.choice((1, 3)),
        repeated_failures=dice.choice((4, 20)),
        bad_node_failures=3,
    )
