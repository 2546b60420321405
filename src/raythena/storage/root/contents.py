"""What a ROOT file holds, and which of it counts the events: asked by the counter of inputs, mergers, `validate` and the demo.

A *tree* is whatever has entries: a TTree or one of its kin (TNtuple), or an RNTuple, in whatever directory. Objects are called by
their path in the file. Of an object written several times (its *cycles*) the last one is meant, as ROOT itself means it.

The *event tree* is the one with one entry for each event. Which that is, is found in this order:

    1. the tree somebody named, by its path, or by its name alone where only one is called so
    2. one that convention names (`EVENT_TREES`), at the top or, if only one is called so, in a directory
    3. the only tree of the file
    4. the only tree with a branch `EventNumber`

Rules: a file is open only while it is asked; whatever a library makes of damaged bytes leaves here as a RootFileError, whose text
does not name the file: who asks knows it, and says it in an error of his own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from raythena.domain.errors import RaythenaError
from raythena.storage.atomic import is_disk_trouble

TTREES = frozenset({"TTree", "TNtuple", "TNtupleD"})
RNTUPLES = frozenset({"ROOT::RNTuple", "ROOT::Experimental::RNTuple"})
DIRECTORIES = frozenset({"TDirectory", "TDirectoryFile"})
EVENT_TREES = (
    "POOLCollectionTree",
    "CollectionTree",
    "EventData",
    "EventTree",
    "Events",
    "events",
    "EVNT",
    "HITS",
)
"""Trees with one entry for each event by convention (ATLAS, CMS, EDM4hep, our demo), the most trustworthy first."""
NO_TREE = "none"
"""What somebody says instead of the name of an event tree when rows of the trees are no events, and must not be counted."""
EVENT_BRANCH = "eventnumber"
"""The branch with the number of the event; ATLAS writes `EventNumber`, others in other capitals."""
GUID_NAME = "GUID"
"""The text in which a merged file tells its GUID; that of an input is not kept."""
Source = Path | bytes
"""A file by its path, or all it holds."""
_MAGIC = b"root"
_VERSION = b"\0"
"""The first byte of the version, which follows: no version is large enough to need it."""


class RootFileError(Exception):
    """A file cannot be used as a ROOT file. The text says why."""


class NotRoot(RootFileError):
    """It begins with something else than a ROOT file does."""


class NoEventTree(RootFileError):
    """No tree that counts events, or no way to tell which. `trees` are those there are."""

    def __init__(self, problem: str, trees: tuple[str, ...]) -> None:
        super().__init__(problem)
        self.trees = trees


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """A ROOT file, as uproot opens it, complete according to its header.

    Raises RootFileError, also for errors met inside; OSError when a disk refuses.
    """
    import uproot

    _check_magic(source)
    try:
        # a Path is never taken apart at a colon, and memory mapping reads only what is asked for
        how = {"handler": uproot.MemmapSource} if isinstance(source, Path) else {}
        with uproot.open(readable(source), **how) as file:
            _check_whole(source, int(file.file.fEND))
            yield file
    except (RootFileError, RaythenaError):
        raise
    except OSError as error:
        if is_disk_trouble(error):  # no fault of the file's
            raise
        raise RootFileError(f"is a damaged ROOT file: {in_one_line(error)}") from error
    # uproot meets damage with whatever breaks first: struct.error, IndexError, AssertionError, its own errors and others'
    except Exception as error:
        raise RootFileError(f"is a damaged ROOT file: {in_one_line(error)}") from error


def readable(source: Source) -> Path | BytesIO:
    """The same in a form that uproot opens."""
    return source if isinstance(source, Path) else BytesIO(source)


def contents(file: Any) -> dict[str, str]:
    """Path → class of every object of the file, directories included."""
    latest: dict[str, tuple[int, str]] = {}
    for name, class_name in file.iterclassnames(recursive=True, cycle=True):
        path, _, cycle = name.rpartition(";")
        if path not in latest or latest[path][0] < int(cycle):
            latest[path] = (int(cycle), class_name)
    return {path: class_name for path, (_, class_name) in latest.items()}


def trees_of(held: Mapping[str, str]) -> tuple[str, ...]:
    """Which of the contents are trees."""
    return tuple(path for path, class_name in held.items() if class_name in TTREES or class_name in RNTUPLES)


def taken(file: Any, path: str) -> Any:
    """An object of an open file. Raises RootFileError naming it when it cannot be read."""
    try:
        return file[path]
    except Exception as error:  # as in `opened`: whatever the library makes of damage
        if is_disk_trouble(error):
            raise
        raise RootFileError(f"{path!r} cannot be read: {in_one_line(error)}") from error


def n_entries(file: Any, tree: str) -> int:
    """Entries of a tree. Raises RootFileError naming it when it cannot be read."""
    return int(taken(file, tree).num_entries)


def event_tree(file: Any, asked: str | None = None) -> str:
    """The path of the tree that counts events. Raises NoEventTree."""
    trees = trees_of(contents(file))
    if asked is not None:
        return _named(asked, trees)
    return conventional(trees) or _only(trees, lambda tree: event_branch(file, tree) is not None)


def conventional(trees: tuple[str, ...]) -> str | None:
    """The tree that is the event tree by its name alone."""
    for name in EVENT_TREES:
        if (found := _called(name, trees)) is not None:
            return found
    return None


def event_branch(file: Any, tree: str) -> str | None:
    """The branch of a tree that holds the numbers of the events."""
    names = file[tree].keys(full_paths=False) if file[tree].classname in TTREES else file[tree].keys()
    return next((name for name in names if name.rpartition(".")[2].lower() == EVENT_BRANCH), None)


def count_events(path: Path, tree: str | None = None) -> int:
    """Events in a ROOT file: the entries of `tree`, or of the event tree. Raises RootFileError."""
    with opened(path) as file:
        return n_entries(file, event_tree(file, tree))


def count_by_convention(path: Path) -> int | None:
    """Events in a file if it is a ROOT file with a tree that is the event tree by its name; else None.

    For files of unknown origin: a tree that only happens to be the one in the file may count something else. Raises RootFileError
    for a damaged ROOT file.
    """
    try:
        with opened(path) as file:
            tree = conventional(trees_of(contents(file)))
            return None if tree is None else n_entries(file, tree)
    except NotRoot:
        return None


def in_one_line(error: BaseException) -> str:
    """The class and the first line of a library's error."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _check_magic(source: Source) -> None:
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                magic = stream.read(len(_MAGIC) + 1)
        else:
            magic = source[: len(_MAGIC) + 1]
    except OSError as error:
        raise RootFileError(f"cannot be read: {error.strerror}") from error
    if magic[:4] != _MAGIC or magic[4:] not in (b"", _VERSION):  # a text may begin with the word
        raise NotRoot("is no ROOT file" if magic else "is empty, so it is no ROOT file")


def _check_whole(source: Source, end_bytes: int) -> None:
    """Refuse a file shorter than its header says: trees can still be counted whose events are cut off."""
    size_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
    if end_bytes <= 0:
        raise RootFileError("is a damaged ROOT file: it was never closed")
    if size_bytes < end_bytes:
        raise RootFileError(f"is cut short: it has {size_bytes:,} bytes of {end_bytes:,}")


def _named(asked: str, trees: tuple[str, ...]) -> str:
    if asked in trees:
        return asked
    if (found := _called(asked, trees)) is not None:
        return found
    raise NoEventTree(f"no tree called {asked!r}", trees)


def _called(name: str, trees: tuple[str, ...]) -> str | None:
    """The tree of that name at the top, or the only one of that name in any directory."""
    if name in trees:
        return name
    deeper = [tree for tree in trees if tree.rpartition("/")[2] == name]
    return deeper[0] if len(deeper) == 1 else None


def _only(trees: tuple[str, ...], is_counted: Callable[[str], bool]) -> str:
    if len(trees) == 1:
        return trees[0]
    counted = [tree for tree in trees if is_counted(tree)]
    if len(counted) == 1:
        return counted[0]
    listed = ", ".join(sorted(trees)) or "no tree at all"
    raise NoEventTree(f"which tree counts the events is not clear: it holds {listed}", trees)
