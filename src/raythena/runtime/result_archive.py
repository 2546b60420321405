"""Results of trials, read back from the archive in which a node left them, for whoever tells them to somebody."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.domain.range_report import delivered_name
from raythena.domain.scan.trial import OUTPUT_PREFIX, TrialResult


def results_in(archive: Path, range_ids: Iterable[str]) -> Iterator[TrialResult]:
    """The results of these ranges; others that may be in the archive are not looked at. Raises StorageError."""
    try:
        with zipfile.ZipFile(archive) as members:
            for range_id in range_ids:
                yield TrialResult.from_bytes(members.read(delivered_name(OUTPUT_PREFIX, range_id)))
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as problem:
        raise StorageError(f"cannot read the results of trials in {archive}: {problem}") from problem
