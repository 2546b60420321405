"""What must hold after every step of the engine. Slow on purpose: it looks at everything, from scratch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError
from raythena.domain.ids import OutputNumber
from raythena.domain.ranges import NO_NODE, RangeState
from raythena.engine.engine import Engine
from raythena.engine.merge_planner import OutputState
from raythena.engine.range_source import RangeSource

_LEASED, _ACCEPTED, _STORED, _FAILED, _MERGED = (
    int(state) for state in (RangeState.LEASED, RangeState.ACCEPTED, RangeState.STORED, RangeState.FAILED, RangeState.MERGED)
)
_N_STATES = len(RangeState)
_OPEN, _MERGED_OUTPUT = OutputState.OPEN, OutputState.MERGED


def check(engine: Engine, *, ids: bool = True) -> None:
    """Raise InternalError naming the first rule that does not hold.

    `ids`: whether to compare all ids of given ranges as well, which change only when the table grows.
    """
    _counts(engine)
    _holders(engine)
    _leases(engine)
    _duplicates(engine)
    _outputs(engine)
    _tickets(engine)
    _fleet(engine)
    _given(engine)
    _inputs(engine)
    if ids and engine.table.given:
        _ids(engine)


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise InternalError(f"invariant broken: {rule}")


def _counts(engine: Engine) -> None:
    table = engine.table
    counted = np.bincount(table.state, minlength=_N_STATES)
    _require((counted == table.counts).all(), "the counts of states differ from the table")


def _holders(engine: Engine) -> None:
    table = engine.table
    leased = table.state == _LEASED
    held = table.node != NO_NODE
    if (leased != held).any():
        _require(not (leased & ~held).any(), "a leased range has no holder")
        _require(False, "a range that is not leased has a holder")
    up = np.asarray([node.up for node in engine.fleet], dtype=bool)
    _require(not held.any() or up[table.node[held]].all(), "a range is leased to a node that is not up")


def _leases(engine: Engine) -> None:
    table = engine.table
    leases, owners = [], []
    for node in engine.fleet:
        listed = sum(map(len, node.leases.arrays))
        _require(node.leases.listed == listed, f"the lease count of {node.name} is wrong")
        if listed:
            leases += node.leases.arrays
            owners.append((node.number, listed))
    found = np.zeros(len(table), dtype=bool)
    if leases:
        ranges = np.concatenate(leases)
        numbers, counts = zip(*owners, strict=True)
        mine = (table.state[ranges] == _LEASED) & (table.node[ranges] == np.repeat(numbers, counts))
        found[ranges[mine]] = True
    _require((found == (table.state == _LEASED)).all(), "a range is leased to a node that has no such lease")


def _duplicates(engine: Engine) -> None:
    for index, second in engine.duplicates.items():
        _require(engine.table.state[index] == _LEASED, f"range {index} has a duplicate but is not leased")
        _require(engine.table.node[index] != second, f"range {index} is its own duplicate")
        _require(index in engine.fleet.number(second).duplicates, f"the second holder of range {index} does not know")
        _require(engine.fleet.number(second).up, f"the second holder of range {index} is not up")
    known = sum(len(node.duplicates) for node in engine.fleet)
    _require(known == len(engine.duplicates), "a node believes in a duplicate that is none")


def _outputs(engine: Engine) -> None:
    merges, outputs = engine.merges, engine.outputs
    n_outputs = outputs.n_outputs
    if n_outputs == 0:
        return
    hosts = np.repeat(np.arange(0, n_outputs * _N_STATES, _N_STATES), np.diff(outputs.bounds)) + engine.table.state
    counts = np.bincount(hosts, minlength=n_outputs * _N_STATES).reshape(n_outputs, _N_STATES)
    stored, merged = counts[:, _STORED], counts[:, _MERGED]
    open_ranges = counts.sum(axis=1) - stored - merged - counts[:, _FAILED]
    states = [merges.state(OutputNumber(output)) for output in range(n_outputs)]
    is_open = np.asarray([each is _OPEN for each in states])
    is_merged = np.asarray([each is _MERGED_OUTPUT for each in states])
    _require_all(open_ranges == merges.open_ranges, "counts its open ranges wrongly")
    _require_all(is_merged | (stored == merges.stored), "counts its stored ranges wrongly")
    _require_all(is_open == (open_ranges > 0), "is open without open ranges, or the other way round")
    _require_all(~is_merged | (stored == 0), "was merged without some stored ranges")
    _require_all(is_merged | (merged == 0), "has merged ranges but is not merged")


def _require_all(holds: npt.NDArray[np.bool_], rule: str) -> None:
    if not holds.all():
        raise InternalError(f"invariant broken: output {int(np.argmin(holds))} {rule}")


def _given(engine: Engine) -> None:
    """In a job whose ranges are given: what is finished is reported, and nothing is leased before it is durable."""
    table = engine.table
    if not isinstance(engine.completion, RangeSource):
        _require(not table.given, "nobody is told what becomes of ranges that were handed out")
        return
    finished = np.sort(engine.completion.reports.finished_ranges())
    _require(np.array_equal(finished, np.flatnonzero(table.state == RangeState.STORED)), "finished ranges and reports differ")
    not_durable = np.flatnonzero(table.state == RangeState.GIVEN)
    count = len(not_durable)
    _require(np.array_equal(not_durable, np.arange(len(table) - count, len(table))), "ranges became durable out of order")


def _inputs(engine: Engine) -> None:
    """In a job with an upstream task: what may be computed is in a file that was taken on, and only there."""
    table = engine.table
    if table.taken is None:
        _require(not table.count(RangeState.AWAITED), "inputs are awaited, but no task makes them")
        return
    begun = np.flatnonzero((table.state == RangeState.READY) | (table.state == _LEASED) | (table.state == _ACCEPTED))
    _require(all(table.event_range(index).guid for index in begun.tolist()), "a range is ready whose input is not there")


def _ids(engine: Engine) -> None:
    table = engine.table
    ids = {table.range_id(index) for index in range(len(table))}
    _require(len(ids) == len(table), "a range was taken twice")


def _tickets(engine: Engine) -> None:
    accepted = np.flatnonzero(engine.table.state == _ACCEPTED)
    waiting = [group.entries["range"].astype(np.int64) for group in engine.groups.values()]
    pending = np.sort(np.concatenate(waiting)) if waiting else np.empty(0, dtype=np.int64)
    same = len(accepted) == len(pending) and (accepted == pending).all()
    _require(same, "accepted ranges and groups on their way to the ledger differ")
    _require(not engine.stored_groups & engine.groups.keys(), "a group is both stored and on its way")


def _fleet(engine: Engine) -> None:
    up = engine.fleet.up()
    _require(engine.fleet.n_up == len(up), "the number of nodes that are up is wrong")
    _require(engine.fleet.idle == {node.number for node in up if node.idle_cores > 0}, "the nodes with idle cores are others")
    _require(engine.fleet.n_aside == sum(node.aside for node in up), "the number of nodes set aside is wrong")
    speed = sum(node.speed for node in up)
    _require(abs(engine.fleet.total_speed - speed) <= 1e-6 * max(1.0, speed), "the speed of the fleet is wrong")
