"""How busy the cores were."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Meter:
    """Core-seconds computed, and core-seconds there were between the first and the last event."""

    busy_s: float = 0.0
    first_s: float | None = None
    last_s: float = 0.0
    attempts: int = 0

    def ended(self, began_at: float, now: float) -> None:
        """An attempt, whatever became of it, kept a core from `began_at` until `now`."""
        self.busy_s += now - began_at
        self.first_s = began_at if self.first_s is None else min(self.first_s, began_at)
        self.last_s = max(self.last_s, now)
        self.attempts += 1

    def occupancy(self, cores: int) -> float:
        """Busy core-seconds over `cores` times the time from the first event's beginning to the last one's end, 0 to 1."""
        if self.first_s is None or self.last_s <= self.first_s:
            return 0.0
        return self.busy_s / (cores * (self.last_s - self.first_s))
