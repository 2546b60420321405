"""Counting the events of ROOT input files.

The number of events is the number of entries of one tree. Which tree that is, convention tells: ATLAS writes a
`POOLCollectionTree` (or `CollectionTree`) beside many trees that are not counted in events; our own demonstration writes `EVNT`.
A file with a single tree needs no convention, and for anything else the job file says `tree:`.

Rules: a file is opened, asked and closed, never held; every way a file can be broken ends in an InvalidInput that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raythena.domain.document import nearest
from raythena.domain.errors import InvalidInput

EVENT_TREES = ("POOLCollectionTree", "CollectionTree", "EventTree", "EVNT")
"""Trees with one entry per event, the most trustworthy first."""


def count_root_events(path: Path, tree: str | None = None) -> int:
    """Events in a ROOT file: the entries of `tree`, or of the tree that convention names.

    Raises InvalidInput when the file is no ROOT file or damaged, the tree is missing or not to be guessed, or holds no event.
    """
    import uproot

    _check_magic(path)
    try:
        # a Path is never taken apart at a colon, and memory mapping reads only the header and the directory
        with uproot.open(path, handler=uproot.MemmapSource) as file:
            end_bytes = int(file.file.fEND)
            entries = {name: int(file[name].num_entries) for name in _trees(file)}
    except Exception as error:  # uproot raises anything at all on damaged bytes; it goes on as a refusal of this file
        problem = f"is a damaged ROOT file: {type(error).__name__}: {_first_line(error)}"
        raise InvalidInput(str(path), "", problem, expected="a complete ROOT file") from error
    _check_whole(path, end_bytes)
    name = _chosen(path, entries, tree)
    if entries[name] < 1:
        raise InvalidInput(str(path), name, "holds no events", expected="a tree with at least one entry")
    return entries[name]


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}", expected="a readable file") from error
    if magic != b"root":
        hint = "Say `events:` for inputs of another kind"
        raise InvalidInput(str(path), "", "is no ROOT file, so its events cannot be counted", expected="a ROOT file", hint=hint)


def _check_whole(path: Path, end_bytes: int) -> None:
    """Refuse a file shorter than its header says: trees can still be counted whose events are cut off."""
    size_bytes = path.stat().st_size
    if size_bytes < end_bytes:
        problem = f"is cut short: it has {size_bytes:,} bytes of {end_bytes:,}"
        raise InvalidInput(str(path), "", problem, expected="a complete ROOT file", hint="Copy it again")


def _trees(file: Any) -> list[str]:
    """Names of the trees at the top level, without cycle numbers."""
    classes = file.classnames(recursive=False, cycle=False)
    return [name for name, class_name in classes.items() if class_name == "TTree"]


def _chosen(path: Path, entries: dict[str, int], tree: str | None) -> str:
    listed = ", ".join(sorted(entries)) or "no tree at all"
    if tree is not None:
        if tree in entries:
            return tree
        raise InvalidInput(str(path), "tree", f"no tree called {tree!r}", expected=listed, hint=nearest(tree, entries))
    known = [name for name in EVENT_TREES if name in entries] or (list(entries) if len(entries) == 1 else [])
    if not known:
        problem = f"which tree counts the events is not clear: it holds {listed}"
        raise InvalidInput(
            str(path), "tree", problem, expected="one of " + ", ".join(EVENT_TREES), hint="Say `tree:` in the job file"
        )
    return known[0]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
