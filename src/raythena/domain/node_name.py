"""The name of a node, as it stands in messages, records, group names and log directories.

A node that is given up and comes back is another *incarnation* of the same host: results of the earlier one can still arrive, and
must not be taken for the new one's. So everything is called after the incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class NodeName:
    """Incarnations count from 1; 0 stands for a host none of whose incarnations is meant."""

    host: str
    incarnation: int = 0

    def __str__(self) -> str:
        return f"{self.host}.{self.incarnation}" if self.incarnation else self.host

    @classmethod
    def parse(cls, text: str) -> NodeName:
        """The name written as `<host>.<incarnation>`; whatever is not written so is a host."""
        host, dot, incarnation = text.rpartition(".")
        if dot and host and incarnation.isascii() and incarnation.isdigit() and int(incarnation) > 0:
            return cls(host, int(incarnation))
        return cls(text)

    def next(self) -> NodeName:
        """The incarnation after this one."""
        return NodeName(self.host, self.incarnation + 1)
