"""The ranges that a node has fed to its payload: which are on a core, which are wanted back, and why."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from enum import Enum

import numpy as np

from raythena.engine.node_messages import RunningRanges


class AskedBack(Enum):
    """Why a range is to come back unbegun."""

    RECALLED = "another node may compute it"
    REVOKED = "it is settled elsewhere"


class PayloadRanges:
    """In the order in which they were fed."""

    def __init__(self) -> None:
        self._began_at: dict[int, float | None] = {}
        """Wall-clock seconds; None: waits in the payload."""
        self._asked_back: dict[int, AskedBack] = {}
        self.n_unbegun = 0
        """How many wait for a core."""

    def __len__(self) -> int:
        return len(self._began_at)

    def __iter__(self) -> Iterator[int]:
        return iter(self._began_at)

    def feed(self, indices: Iterable[int]) -> None:
        """The payload gets ranges."""
        new = [index for index in indices if index not in self._began_at]
        self._began_at.update(dict.fromkeys(new))
        self.n_unbegun += len(new)

    def started(self, index: int, at: float) -> None:
        """A core began working on a range at wall-clock time `at`."""
        if index in self._began_at:
            self.n_unbegun -= self._began_at[index] is None
            self._began_at[index] = at
            self._asked_back.pop(index, None)

    def remove(self, index: int) -> bool:
        """The payload has nothing to do with a range any more; False: it had not."""
        self._asked_back.pop(index, None)
        if index not in self._began_at:
            return False
        self.n_unbegun -= self._began_at.pop(index) is None
        return True

    def unbegun(self) -> list[int]:
        """Ranges that wait for a core."""
        return [index for index, at in self._began_at.items() if at is None]

    def begun(self) -> list[int]:
        """Ranges on a core."""
        return [index for index, at in self._began_at.items() if at is not None]

    def running(self, wall_now: float) -> RunningRanges:
        """Ranges on a core, and for how long."""
        began = {index: at for index, at in self._began_at.items() if at is not None}
        ages_s = wall_now - np.fromiter(began.values(), np.float64, len(began))
        return RunningRanges(np.fromiter(began, np.int64, len(began)), np.maximum(ages_s, 0.0))

    # ---- wanted back

    def ask_back(self, wanted: Container[int], why: AskedBack) -> list[int]:
        """Of these, ask for what has not begun; returns it."""
        asked = [index for index in self.unbegun() if index in wanted]
        self._asked_back.update(dict.fromkeys(asked, why))
        return asked

    def ask_back_last(self, count: int) -> list[int]:
        """Ask for up to `count` ranges that would be begun last, and have not been asked for yet; returns them."""
        unasked = [index for index in reversed(self.unbegun()) if index not in self._asked_back]
        asked = unasked[: max(count, 0)]
        self._asked_back.update(dict.fromkeys(asked, AskedBack.RECALLED))
        return asked

    def why_asked_back(self, index: int) -> AskedBack | None:
        """Why a range is wanted back; None: it is not."""
        return self._asked_back.get(index)

    def keep(self, index: int) -> None:
        """A range is not wanted back any more."""
        self._asked_back.pop(index, None)
