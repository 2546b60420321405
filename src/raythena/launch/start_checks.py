"""What `raythena doctor` would say of a node, said by itself when a job starts there: the cheap checks, as far as one fails.

Each node looks at itself while Ray starts, and sends what it found. Here each is judged beside the head's node, with which
versions and addresses are compared. Nothing waits for that and nothing is decided by it: it is told, with the name of the node
and what to do, so that whoever reads that a node failed reads the cause as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from raythena.domain.site_checks import Verdict, examine
from raythena.domain.site_facts import NodeFacts, SiteFacts


class StartChecks:
    """Of the nodes of one cluster. Times are of the wall clock."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self._tell = tell
        self._clock = clock
        self._head: NodeFacts | None = None
        self._others: dict[str, tuple[NodeFacts, tuple[float, float]]] = {}
        """By name, with when it was asked and had answered."""
        self._told: set[tuple[str, str, str]] = set()

    def head_looked(self, facts: NodeFacts) -> None:
        """The head's node has been looked at."""
        self._head = facts
        self._judge(facts.node, SiteFacts(nodes=(facts,)))
        for node, (there, asked) in self._others.items():
            self._judge(node, SiteFacts(nodes=(facts, there), asked_at={node: asked}))

    def node_looked(self, node: str, found: object, asked_at: float) -> None:
        """Another node says what it found; `asked_at`: when its start began. What cannot be read is left out."""
        try:
            facts = replace(msgspec.convert(found, NodeFacts), node=node)
        except msgspec.ValidationError:
            return
        self._others[node] = facts, (asked_at, self._clock())
        nodes = (facts,) if self._head is None else (self._head, facts)
        self._judge(node, SiteFacts(nodes=nodes, asked_at={node: self._others[node][1]}))

    def _judge(self, node: str, site: SiteFacts) -> None:
        """Tell what fails on a node: once, however often it starts."""
        for finding in examine(site, cheap_only=True):
            key = (node, finding.check, finding.advice)
            if finding.node == node and finding.verdict is Verdict.FAILURE and key not in self._told:
                self._told.add(key)
                self._tell(f"node {node} fails the check of {finding.check}: {finding.found}; {finding.advice}")
