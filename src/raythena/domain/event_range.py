"""What a payload is told to compute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventRange:
    """Consecutive events of one input file: what a payload computes in one go."""

    range_id: str
    lfn: str
    pfn: str
    guid: str
    first_event: int
    last_event: int
    scope: str = ""
    seeds: tuple[int, ...] = ()
    """Of each of the events, in a job without input files."""
    point: str = ""
    """In a hyper-parameter scan: what is to be tried, as JSON (`domain.scan.trial.Point`)."""

    @property
    def seed(self) -> int:
        """The seed of the first event. Raises ValueError in a job with input files, whose events have none."""
        if not self.seeds:
            raise ValueError(f"event range {self.range_id} has no seed: its events come from a file")
        return self.seeds[0]

    def to_panda(self) -> dict[str, object]:
        """PanDA's wire form (event service documentation: eventRangeID, startEvent, lastEvent, LFN, GUID, scope)."""
        return {
            "eventRangeID": self.range_id,
            "startEvent": self.first_event,
            "lastEvent": self.last_event,
            "LFN": self.lfn,
            "GUID": self.guid,
            "scope": self.scope,
        }
