"""Which file system a path is on."""

from __future__ import annotations

import os
from pathlib import Path

LOCAL = frozenset({"ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"})
"""File systems of one machine: whoever wrote there was this machine."""


def mounted_at(path: str, mounts: str = "/proc/self/mounts") -> tuple[str, str]:
    """Type and options of the file system a path is on. Raises OSError."""
    here = os.path.realpath(path)
    found = ("", "", "")
    for line in Path(mounts).read_text().splitlines():
        _, point, kind, options, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")
        below = here == point or here.startswith(point.rstrip("/") + "/")
        if below and len(point) >= len(found[0]):
            found = (point, kind, options)
    return found[1], found[2]
