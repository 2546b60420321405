"""Engines with a wrong part, for tests of those who should notice."""

from __future__ import annotations

from typing import Any

from raythena.engine import commands as do
from raythena.engine.engine import Engine, EngineParts
from raythena.engine.result_intake import Results


def engine_with(**wrong: Any) -> type[Engine]:
    """An engine with one part exchanged, named for it."""
    (part,) = wrong.values()
    return type(part.__name__, (Engine,), {"made_of": EngineParts(**wrong)})


class AcknowledgesWhatItRefusesTooEarly(Results):
    """Another node was faster, but that one's result is not in the ledger yet."""

    def release_refused(self):
        for name, (_, node) in self._refused.items():
            self._refused[name] = (0, node)
        super().release_refused()


class DropsResultsWhenItStops(Results):
    """Once the job is to end, groups are waved through."""

    def reported(self, event, now):
        if self._state.stopping is not None:
            self._journal.do(do.Acknowledge(node=event.group.node, group=event.group.name))
        else:
            super().reported(event, now)
