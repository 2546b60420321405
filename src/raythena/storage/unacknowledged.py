"""Results that nobody has acknowledged, kept beside their groups for the case that their node cannot tell of them any more.

A group that lies on the shared disk is durable, but counts only when a coordinator has put it into the ledger. When the
coordinator is away, each node keeps here what it would tell it: one small file for a node, replaced whenever there is more. The
coordinator of the next session reads them before it hands anything out, and decides about each group as if its node had
reported it just now. A file that tells of groups the ledger knows already does no harm, and is swept with the rest of staging.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from raythena.domain.ids import OutputNumber
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.storage.atomic import make_directory, write_atomically

logger = logging.getLogger(__name__)

_NAME = "unacknowledged.json"


def keep_unacknowledged(staging: Path, session: str, node: str, reports: Iterable[GroupReport]) -> None:
    """Note what a node would report; an earlier note of it is replaced. Raises StorageError."""
    path = staging / session / node / _NAME
    make_directory(path.parent)
    write_atomically(path, json.dumps([_packed(report) for report in reports]))


def read_unacknowledged(task_directory: Path, staging: Path) -> list[GroupReport]:
    """Every group that was noted and is still there, whole as far as its size can tell. Raises OSError."""
    found: list[GroupReport] = []
    for path in sorted(staging.glob(f"*/*/{_NAME}")):
        try:
            reports = [_unpacked(words) for words in json.loads(path.read_bytes())]
        except (ValueError, TypeError, KeyError) as problem:
            logger.warning("%s cannot be read, its results are computed again: %s", path, problem)
            continue
        found.extend(report for report in reports if _is_there(task_directory / report.path, report.size_bytes))
    return found


def _packed(report: GroupReport) -> dict[str, object]:
    words = asdict(report)
    words["entries"] = base64.b64encode(report.entries.tobytes()).decode()
    return words


def _unpacked(words: dict[str, object]) -> GroupReport:
    """Raises ValueError, TypeError, KeyError for what is no report."""
    entries = np.frombuffer(base64.b64decode(str(words["entries"])), dtype=ENTRY_DTYPE)
    output, size_bytes, adler32 = (int(str(words[name])) for name in ("output", "size_bytes", "adler32"))
    name, node, path = (str(words[key]) for key in ("name", "node", "path"))
    return GroupReport(name, node, OutputNumber(output), path, size_bytes, adler32, entries)


def _is_there(path: Path, size_bytes: int) -> bool:
    if path.is_dir():  # outputs delivered one by one; the merge, or whoever takes them, checks each
        return True
    return path.is_file() and path.stat().st_size == size_bytes
