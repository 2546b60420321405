"""What goes wrong at a site, and when: the faults of a plan, put on the agenda at the beginning.

Faults that are chances (of a message, a commit, a merge) are drawn where they happen; this module does those that have a time.
"""

from __future__ import annotations

from collections.abc import Callable

from raythena.domain.errors import InternalError, LedgerBusy
from raythena.domain.taxonomy import EndCause
from raythena.engine import events as ev
from raythena.engine.restarts import AgentEnd
from raythena.testing.simulation.surroundings import NodeAtSite, Surroundings

_LONGEST_CUT_S = 20.0
_LONGEST_FREEZE_S = 15.0
"""Less than what makes a lease lapse, and sometimes more than what makes a node believe that its message was lost."""
_LONGEST_STALL_S = 25.0
_LONGEST_SILENCE_S = 30.0
_ONLY_THE_AGENT = 0.5
"""Of the deaths of nodes, how many leave the machine alive."""


class Trouble:
    """Every method is a fault that happens now."""

    def __init__(self, site: Surroundings) -> None:
        self._site = site

    def schedule(self) -> None:
        """Put everything on the agenda."""
        plan, site = self._site.plan, self._site
        faults: tuple[tuple[int, Callable[[], None]], ...] = (
            (plan.crashes, site.crash),
            (plan.deaths, self._kill_one),
            (plan.cuts, lambda: self._cut_off(1)),
            (plan.partitions, lambda: self._cut_off(max(2, len(site.nodes) // 2))),
            (plan.payload_crashes, self._crash_a_payload),
            (plan.stalls, self._stall),
            (plan.full_scratches, self._fill_a_scratch),
            (plan.stops, self._stop),
            (plan.freezes, self._freeze),
            (plan.intruders, self._intrude),
            (plan.frozen_agents, self._freeze_an_agent),
            (plan.silences if plan.given else 0, self._silence),
        )
        for count, fault in faults:
            for at_s in site.fault_model.times(count):
                site.agenda.after(at_s, fault)

    def _pick(self, count: int) -> list[NodeAtSite]:
        alive = [node for node in self._site.nodes if node.alive]
        return self._site.fault_model.dice.sample(alive, min(count, len(alive)))

    def _kill_one(self) -> None:
        for node in self._pick(1):
            if self._site.fault_model.dice.random() < _ONLY_THE_AGENT:
                node.end(AgentEnd.DIED, "by fate")
            else:
                node.lose_machine("by fate")

    def _freeze_an_agent(self) -> None:
        for node in self._pick(1):
            node.freeze()

    def _cut_off(self, count: int) -> None:
        site = self._site
        until = site.now + site.fault_model.dice.uniform(0.0, _LONGEST_CUT_S)
        only_deaf = site.fault_model.dice.random() < 0.3
        nodes = self._pick(count)
        for node in nodes:
            node.cut_off(until, only_deaf=only_deaf)
        names = ", ".join(node.name for node in nodes)
        how = "hears nothing" if only_deaf else "is cut off"
        site.trace.tell(f"{names} {how} until {until:.1f} s", "nodes out of reach")

    def _crash_a_payload(self) -> None:
        for node in self._pick(1):
            self._site.trace.tell(f"the payload of {node.name} crashes", "payload crashed")
            node.crash_payload()

    def _stall(self) -> None:
        site = self._site
        site.disk.refused_until = site.now + site.fault_model.dice.uniform(0.0, _LONGEST_STALL_S)
        site.trace.tell(f"the disk is full until {site.disk.refused_until:.1f} s", "disk full")

    def _fill_a_scratch(self) -> None:
        site = self._site
        for node in self._pick(1):
            until = site.now + site.fault_model.dice.uniform(0.0, _LONGEST_STALL_S)
            site.trace.tell(f"the scratch disk of {node.name} is full until {until:.1f} s", "scratch full")
            node.fill_scratch(until)

    def _freeze(self) -> None:
        site = self._site
        if site.coordinator is not None:
            until = site.now + site.fault_model.dice.uniform(0.0, _LONGEST_FREEZE_S)
            site.trace.tell(f"the coordinator stands still until {until:.1f} s", "coordinator froze")
            site.coordinator.freeze(until)

    def _silence(self) -> None:
        site = self._site
        site.range_source.silent_until = site.now + site.fault_model.dice.uniform(0.0, _LONGEST_SILENCE_S)
        site.trace.tell(f"the source of ranges is silent until {site.range_source.silent_until:.1f} s", "source silent")

    def _stop(self) -> None:
        site = self._site
        if site.coordinator is not None and site.coordinator.finish is None:
            site.trace.tell("somebody ends the session", "session stopped")
            site.coordinator.tell(ev.StopRequested(reason="somebody wants it"))

    def _intrude(self) -> None:
        """Somebody starts the job a second time, here or on another machine."""
        site = self._site
        host = site.fault_model.dice.choice((site.host, "another host"))
        try:
            site.lease.acquire("started by mistake", host)
        except LedgerBusy:
            site.trace.tell("a second coordinator is refused", "second coordinator")
            return
        if site.coordinator is not None:
            raise InternalError("one writer: a second coordinator is let in while the first one works")
        site.lease.release()
        site.end("another session takes the task over while no coordinator is there")

    # ---- the end of an allocation

    def limit_session(self) -> float | None:
        """Give the session that begins now an end. Returns it; None if it has none."""
        plan, site = self._site.plan, self._site
        if not plan.walltime_s or not site.fault_model.in_trouble:
            return None
        length_s = plan.walltime_s * site.fault_model.dice.uniform(0.5, 1.5)
        ends_at, session = site.now + length_s, site.session
        site.agenda.after(length_s, lambda: self._kill_all(session))
        if plan.warning_s:
            site.agenda.after(max(0.0, length_s - plan.warning_s), lambda: self._warn(session, ends_at))
        return ends_at

    def _warn(self, session: int, ends_at: float) -> None:
        site = self._site
        if session == site.session and site.coordinator is not None:
            site.trace.tell("the batch system warns", "walltime warning")
            left_s = ends_at - site.now
            site.coordinator.tell(ev.StopRequested(reason="walltime", within_s=left_s, cause=EndCause.WALLTIME))

    def _kill_all(self, session: int) -> None:
        if session == self._site.session:
            self._site.trace.tell("the allocation ends, everything is killed", "killed at the walltime")
            self._site.end("killed at the end of the allocation")
