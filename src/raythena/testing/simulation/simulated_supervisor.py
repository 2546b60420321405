"""One life of the supervisor: the real restart policy, told of made-up machines and agents.

It lives and dies with its coordinator, and does what `raythena.runtime.agent_supervisor` does: every machine has an agent, those
that end are replaced when and if the policy says so, silent ones are asked for a sign of life.
"""

from __future__ import annotations

from collections.abc import Callable

from raythena.domain.errors import InternalError
from raythena.domain.taxonomy import EndCause
from raythena.engine import events as ev
from raythena.engine.restarts import AgentEnd, GiveUp, SilenceLimits
from raythena.testing.simulation.restart_judge import RestartJudge
from raythena.testing.simulation.surroundings import CoordinatorAtSite, Host, NodeAtSite, Surroundings

_LOOK_S = 1.0
_ANSWER_S = 5.0
_FIRST_ANSWER_S = 60.0


class SimulatedSupervisor:
    """Keeps an agent on every machine."""

    def __init__(self, site: Surroundings, coordinator: CoordinatorAtSite) -> None:
        self._site = site
        self._coordinator = coordinator
        silent_s = site.plan.node_exchange.node_timeout_s
        self._restarts = site.parts.agent_restarts(SilenceLimits(silent_s, _ANSWER_S, _FIRST_ANSWER_S), site.plan.restarts)
        self._judge = RestartJudge("the agent of", site.plan.restarts)
        self._watched: dict[str, NodeAtSite] = {}
        """By machine."""
        self._asked: dict[str, float] = {}
        """Agents that are being asked whether they live, and how long they may take to answer."""
        self._frozen_looks: dict[str, int] = {}
        self._silent_s = silent_s
        for host in site.hosts:
            if host.is_up:
                self.machine_appeared(host)
        self._later(_LOOK_S, self._look)

    def machine_appeared(self, host: Host) -> None:
        """A machine is there: it gets an agent, unless one outlived an earlier coordinator."""
        machine = host.machine_name
        if machine in self._watched:
            return
        self._restarts.node_appeared(machine)
        self._judge.appeared(machine)
        survivor = self._site.living_agent(host)
        self._watch(host, survivor or self._site.start_agent(host))

    def machine_vanished(self, machine: str) -> None:
        """Nobody need start anything there any more."""
        self._restarts.node_vanished(machine)
        self._judge.vanished(machine)
        self._watched.pop(machine, None)

    def agent_ended(self, machine: str, node: NodeAtSite, how: AgentEnd) -> None:
        """An agent ended before the job."""
        if self._watched.get(machine) is not node or self._coordinator.finish is not None:
            return
        self._coordinator.lose(node.name)
        decision = self._restarts.agent_ended(machine, how, self._site.now)
        self._judge.ended(machine, how, decision, self._site.now)
        if isinstance(decision, GiveUp):
            self._site.trace.tell(f"{node.host.name} is not used any more: {how}", "node not used any more")
            if decision.is_last:
                stop = ev.StopRequested(reason="no node is left to work on", abort=True, cause=EndCause.ERROR)
                self._coordinator.tell(stop)
        else:
            self._later(decision.pause_s, lambda: self._start_again(machine, node.host))

    def _start_again(self, machine: str, host: Host) -> None:
        if host.is_up and host.machine_name == machine and machine in self._watched and self._coordinator.finish is None:
            self._watch(host, self._site.start_agent(host))

    def _watch(self, host: Host, node: NodeAtSite) -> None:
        self._judge.started(host.machine_name, self._site.now)
        self._restarts.agent_started(host.machine_name, self._site.now)
        self._watched[host.machine_name] = node

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._site.agenda.after(delay_s, lambda: self._coordinator.when_awake(action))

    # ---- silence

    def _look(self) -> None:
        if self._coordinator.finish is not None:
            return
        for machine, node in list(self._watched.items()):
            silence_s = self._coordinator.silence_s(node.name)
            if silence_s < float("inf"):
                self._restarts.agent_heard(machine)
            limit_s = self._restarts.answer_limit_s(machine, silence_s)
            if limit_s is not None and node.name not in self._asked and node.alive:
                self._ask(machine, node, limit_s)
            if not (node.is_frozen or node.is_loading):
                self._asked.pop(node.name, None)  # it has come up, and answers
            usual_s = _FIRST_ANSWER_S if silence_s == float("inf") else _ANSWER_S
            self._watch_frozen(node, max(usual_s, self._asked.get(node.name, 0.0)))
        self._later(_LOOK_S, self._look)

    def _ask(self, machine: str, node: NodeAtSite, limit_s: float) -> None:
        if node.is_out_of_reach:
            return
        if not (node.is_frozen or node.is_loading):
            self._restarts.agent_heard(machine)
            return
        self._asked[node.name] = limit_s
        self._later(limit_s, lambda: self._kill_if_silent(machine, node))

    def _kill_if_silent(self, machine: str, node: NodeAtSite) -> None:
        self._asked.pop(node.name, None)
        if not node.alive or self._watched.get(machine) is not node:
            return
        if node.is_loading:
            raise InternalError(f"restarts: the agent {node.name} is killed while it is loading")
        if node.is_frozen:
            self._site.trace.tell(f"{node.name} is killed: it is frozen")
            node.end(AgentEnd.DIED, "it was frozen")

    def _watch_frozen(self, node: NodeAtSite, answer_s: float) -> None:
        if node.alive and node.is_frozen:
            looks = self._frozen_looks[node.name] = self._frozen_looks.get(node.name, 0) + 1
            if looks * _LOOK_S > 3 * self._silent_s + answer_s:
                raise InternalError(f"restarts: the agent {node.name} has been frozen for {looks * _LOOK_S:.0f} s")
