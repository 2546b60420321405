"""Looking at ROOT files before they are merged, and at what was made of them, whoever merges.

Of files that are to be merged each must have the entries of one event in its event tree, and the schema of the others. What most
look like is right; of several such looks the one that comes first. Of what was merged the schema must be theirs, and the events
as many as went in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput
from raythena.runtime.merger_interface import MergeContext, StoredEvent
from raythena.storage.atomic import is_disk_trouble
from raythena.storage.root import contents as root
from raythena.storage.root.contents import GUID_NAME, NO_TREE, Source
from raythena.storage.root.ntuple_part import read_through
from raythena.storage.root.object_parts import shape_of
from raythena.storage.root.parts import Unsupported
from raythena.storage.root.schema import FileSchema, TreeSchema, difference, file_schema, unordered
from raythena.storage.root.tree_part import branches_of, chunks_of

TREE_OPTION = "merge.options.tree"
LARGEST_READ_BYTES = 4 << 20
"""An input file that is not larger is read at once; of a larger one, what is asked for."""
Input = Path | StoredEvent


@dataclass(frozen=True, slots=True)
class Counting:
    """How the events of files to be merged are counted."""

    tree: str | None = None
    """The event tree, if somebody named it; `NO_TREE`: there is none."""
    per_input: int | None = 1
    """Entries each input's event tree must have; None: any number."""

    @classmethod
    def of(cls, context: MergeContext) -> Counting:
        """What a merge is asked for."""
        tree = context.options.get("tree")
        return cls(tree, 1 if context.expected is not None and tree != NO_TREE else None)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in files to be merged."""

    faults: dict[int, str]
    """Position of each that is at fault → what is wrong with it."""
    schema: FileSchema
    """Of those that are not."""
    event_tree: str | None
    n_events: int


def is_countable(context: MergeContext) -> bool:
    """Whether the number of events can be told from the entries of a tree at all: the job may say that it cannot."""
    return context.options.get("tree") != NO_TREE


def check_tree_option(options: Mapping[str, Any], source: str) -> None:
    """Refuse an option `tree` that cannot work. Raises InvalidInput."""
    tree = options.get("tree")
    if tree is not None and (not isinstance(tree, str) or not tree):
        raise InvalidInput(source, TREE_OPTION, f"is {tree!r}", expected="the name of a tree, or none")


def source_of(input_: Input) -> Source:
    """An input as it is opened: its content, or a large file's path. Raises RootFileError, what `StoredEvent.read` raises."""
    if not isinstance(input_, Path):
        return input_.read()
    try:
        return input_.read_bytes() if input_.stat().st_size <= LARGEST_READ_BYTES else input_
    except OSError as error:
        if is_disk_trouble(error):
            raise
        raise root.RootFileError(f"cannot be read: {error.strerror}") from error


def surveyed(inputs: Sequence[Input], counting: Counting, *, read: bool) -> Survey:
    """Look at all inputs one by one. `read`: every number of them, which shows damage that schemas do not.

    Raises Unsupported when it is not clear which tree of files that are right has the events.
    """
    faults: dict[int, str] = {}
    seen: dict[int, _Seen] = {}
    known: dict[_Seen, _Seen] = {}  # thousands of inputs that look alike are one look in memory
    for position, path in enumerate(inputs):
        try:
            with root.opened(source_of(path)) as file:
                look = _look_through(file, counting, read=read)
            seen[position] = known.setdefault(look, look)
        except root.RootFileError as problem:
            faults[position] = str(problem)
    counts = Counter(each.shape for each in seen.values())
    usual = dict(counts.most_common(1)[0][0]) if counts else {}
    for position, each in seen.items():
        if problem_found := difference(usual, dict(each.shape)) or each.miscount:
            faults[position] = problem_found
    right = [each for position, each in seen.items() if position not in faults]
    if right and right[0].uncountable:
        raise Unsupported(right[0].uncountable)
    return Survey(
        dict(sorted(faults.items())),
        dict(right[0].schema) if right else {},
        right[0].event_tree if right else None,
        sum(each.n_events for each in right),
    )


def contents_of(file: Any) -> dict[str, str]:
    """What is to be merged of a file's contents."""
    held = root.contents(file)
    if held.get(GUID_NAME) == "TObjString":
        del held[GUID_NAME]
    return held


def counted_tree(file: Any, held: Mapping[str, str], counting: Counting) -> str | None:
    """The tree whose entries are counted; None when none is to be. Raises Unsupported when it is not clear."""
    if counting.tree == NO_TREE:
        return None
    if not root.trees_of(held):
        raise Unsupported("holds no tree")
    try:
        return root.event_tree(file, counting.tree)
    except root.NoEventTree as problem:
        if counting.per_input is None:
            return None
        raise Unsupported(f"cannot be counted: {problem} (the option {TREE_OPTION} tells)") from problem


def events_in(file: Any, tree: str | None, counting: Counting) -> int:
    """Events of an input. Raises RootFileError when it has not those of one event."""
    if tree is None:
        return 0
    found = root.n_entries(file, tree)
    if counting.per_input not in (None, found):
        raise root.RootFileError(f"tree {tree!r} has {found:,} entries, where one event has {counting.per_input}")
    return found


def checked(output: Path, schema: FileSchema, event_tree: str | None, n_events: int) -> int | None:
    """Look at a merged file: the number of events in it, None when they cannot be counted.

    Raises RootFileError when it is damaged, has not the schema of its inputs, or not as many events as they.
    """
    with root.opened(output) as file:
        if problem := difference(unordered(schema), unordered(file_schema(file, contents_of(file)))):
            raise root.RootFileError(f"is not as the inputs are: {problem}")
        if event_tree is None:
            return None
        found = root.n_entries(file, event_tree)
    if found != n_events:
        raise root.RootFileError(f"holds {found:,} events, the inputs {n_events:,}")
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """One input that could be read."""

    schema: tuple[tuple[str, TreeSchema | str], ...]
    """As `FileSchema`, but a value to be looked up."""
    shape: tuple[tuple[str, TreeSchema | str], ...]
    """The schema, with the axes of histograms."""
    event_tree: str | None
    n_events: int
    miscount: str
    """What is wrong with the number of its events, empty if nothing is."""
    uncountable: str
    """Why they cannot be counted, empty if they can."""


def _look_through(file: Any, counting: Counting, *, read: bool) -> _Seen:
    """One input. Raises RootFileError for one that is damaged."""
    held = contents_of(file)
    schema = file_schema(file, held)
    if read:
        _read_through(file, held)
    shapes = {path: shape_of(root.taken(file, path), kind) for path, kind in schema.items() if isinstance(kind, str)}
    event_tree, n_events, miscount, uncountable = None, 0, "", ""
    try:
        event_tree = counted_tree(file, held, counting)
        n_events = events_in(file, event_tree, counting)
    except Unsupported as problem:
        uncountable = str(problem)
    except root.RootFileError as problem:
        miscount = str(problem)
    return _Seen(tuple(schema.items()), tuple({**schema, **shapes}.items()), event_tree, n_events, miscount, uncountable)


def _read_through(file: Any, held: Mapping[str, str]) -> None:
    for tree in root.trees_of(held):
        if held[tree] in root.RNTUPLES:
            read_through(tree, file[tree])
            continue
        with suppress(Unsupported):  # no fault of this input, unless it differs from the others
            for _ in chunks_of(tree, file[tree], branches_of(tree, file[tree])):
                pass
