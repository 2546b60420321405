"""What killed pilots left of their channels to AthenaMP, in places the whole machine shares.

A pilot names its channel by its own process number; yampl makes a pipe in `/tmp` and shared memory in `/dev/shm` of it. One that
was killed leaves both, and another pilot that gets the same number would meet them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

PLACES = (Path("/tmp"), Path("/dev/shm"))  # noqa: S108  # where yampl keeps them
_CHANNEL = re.compile(r"EventService_EventRanges_(\d{1,10})")


def remove_leftovers(places: Iterable[Path] = PLACES) -> list[Path]:
    """Remove what is left of channels of ours whose pilot is gone; what was removed. What cannot be removed stays."""
    removed = []
    for place in places:
        for path in place.glob("*EventService_EventRanges_*"):
            found = _CHANNEL.search(path.name)
            try:
                if found and not Path(f"/proc/{found[1]}").exists() and path.lstat().st_uid == os.getuid():
                    path.unlink()
                    removed.append(path)
            except OSError:
                continue  # somebody else was quicker, or it is no file
    return removed
