"""Merging ROOT files: what many files hold, one behind the other, in one file.

Trees (TTrees and RNTuples, in directories too) are merged entry by entry in the order of the inputs, histograms beside them are
added, texts kept. Every input must have the schema of the others, and one entry in its event tree; what comes out is read again
and must have the same schema and as many events as went in. Nothing is dropped or changed: what cannot be kept as it is (for
example `std::vector` in a TTree) is refused by name, with the first event's output if `check_sample` is asked.

Rules: memory is bounded by a chunk of uncompressed columns, whatever the number of files; when an input is at fault all inputs
are looked at, and each one at fault is named with its reason; the output is written as it goes and is nobody's before we
return.

Two ways lead to the columns of an input. uproot reads anything, but spends 10 ms on a file before the first number, which is
most of the time when each file holds one event. `fast_reader` reads in a hundredth of that what looks like the file before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import uproot

from raythena.domain.errors import InvalidInput, MergeError
from raythena.payloads.mergers.inspection import (
    Counting,
    Input,
    check_tree_option,
    checked,
    contents_of,
    counted_tree,
    events_in,
    is_countable,
    source_of,
    surveyed,
)
from raythena.payloads.mergers.process import work_directory
from raythena.payloads.plugin_options import refuse_unknown
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged, StoredEvent
from raythena.storage.root import contents as root
from raythena.storage.root import fast_reader
from raythena.storage.root.contents import GUID_NAME, Source
from raythena.storage.root.ntuple_part import NtuplePart, same_numbers
from raythena.storage.root.object_parts import object_part
from raythena.storage.root.parts import Part, Unsupported
from raythena.storage.root.schema import FileSchema, difference, file_schema
from raythena.storage.root.tree_part import TreePart, all_rows, branches_of

PREFIX = "merge.options"
COMPRESSIONS = {"zstd": uproot.ZSTD, "zlib": uproot.ZLIB, "lz4": uproot.LZ4, "lzma": uproot.LZMA}
_ADVICE = "Merge with `hadd`, or write it otherwise"


class RootMerger:
    """The merger `root`.

    Options: `compression` (`zstd`, `zlib`, `lz4`, `lzma` or `none`; default zstd), `level` (default 1), and `tree`, the event
    tree, where it is not to be known otherwise; `none` if no tree has one entry for each event.
    """

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> Merged:
        """Merge files. Raises as `merge_stored` does."""
        return self._merge(inputs, output, context)

    def merge_stored(self, outputs: Sequence[StoredEvent], output: Path, context: MergeContext) -> Merged:
        """Merge. Raises BadInputs when some inputs are at fault, MergeError for everything else that goes wrong.

        The GUID becomes the UUID of the ROOT file and is written beside the trees as the string `GUID`.
        """
        return self._merge(outputs, output, context)

    def _merge(self, inputs: Sequence[Input], output: Path, context: MergeContext) -> Merged:
        self.check_options(context.options, "job")
        counting = Counting.of(context)
        guid, compression = _identity(context), _compression(context.options, "job")
        try:
            with uproot.recreate(output, compression=compression, uuid_function=lambda: guid) as merged:
                copy = _Copy(merged, counting)
                for position, path in enumerate(inputs):
                    copy.add(position, path)
                copy.finish()
                merged[GUID_NAME] = str(guid).upper()
            n_events = checked(output, copy.schema, copy.event_tree, copy.n_events)
        except root.RootFileError as problem:
            raise MergeError(f"{context.lfn}: what was written {problem}. {_ADVICE}") from problem
        except _Refusal as refusal:
            faults = _faults(inputs, counting) or ({} if refusal.of_all else {refusal.position: refusal.problem})
            if faults:
                raise BadInputs(context.lfn, inputs, faults) from refusal
            path = inputs[refusal.position]
            raise MergeError(f"{context.lfn}: {path}: {refusal.problem}. {_ADVICE}") from refusal
        return Merged("", n_events, is_countable(context))

    def check_options(self, options: Mapping[str, Any], source: str) -> None:
        """Refuse options that cannot work. Raises InvalidInput naming the field."""
        refuse_unknown(options, ("compression", "level", "tree"), source, PREFIX)
        _compression(options, source)
        check_tree_option(options, source)

    def check_sample(self, sample: Path, context: MergeContext) -> None:
        """Try to merge a single event's output, and compare what comes out number by number.

        Raises as a merge does: BadInputs for this output, MergeError if none like it can be merged.
        """
        with work_directory(context) as directory:
            output = directory / "sample.root"
            self([sample], output, context)
            try:
                with root.opened(sample) as file, root.opened(output) as merged:
                    _compare(file, merged)
            except root.RootFileError as problem:
                raise MergeError(f"{context.lfn}: {sample}: {problem}. {_ADVICE}") from problem


merge_root = RootMerger()


class _Refusal(Exception):
    """An input cannot be taken; `of_all`: because of what may be true of all inputs."""

    def __init__(self, position: int, problem: str, *, of_all: bool) -> None:
        super().__init__(problem)
        self.position = position
        self.problem = problem
        self.of_all = of_all


class _Copy:
    """A merged file in the making."""

    def __init__(self, merged: Any, counting: Counting) -> None:
        self._merged = merged
        self._counting = counting
        self.held: dict[str, str] = {}
        self.schema: FileSchema = {}
        self.event_tree: str | None = None
        self.n_events = 0
        self._parts: dict[str, Part] = {}
        self._only_tree: TreePart | None = None
        """The part of the only tree of the inputs, if it is a TTree; it may be read the quick way."""
        self._layout: fast_reader.RootLayout | None = None

    def add(self, position: int, input_: Input) -> None:
        """Take what one more input holds. Raises _Refusal."""
        try:
            source = source_of(input_)
            if not self._take_alone(source):
                with root.opened(source) as file:
                    held = contents_of(file)
                    if not self._parts:
                        self._begin(file, held)
                    elif held != self.held and (problem := difference(self.schema, file_schema(file, held))):
                        raise root.RootFileError(problem)
                    self._take(source, file)
        except root.RootFileError as problem:
            raise _Refusal(position, str(problem), of_all=isinstance(problem, Unsupported)) from problem

    def _take_alone(self, source: Source) -> bool:
        """Take the only thing there is in an input that looks like the one before, without opening it."""
        if self._layout is None or self._only_tree is None or len(self._parts) != 1 or not isinstance(source, bytes):
            return False
        chunk = self._layout.read(source)
        if chunk is None:
            return False
        self._only_tree.take(chunk)
        self.n_events += self._layout.n_entries if self.event_tree is not None else 0
        return True

    def finish(self) -> None:
        """Write what is left. Raises RootFileError."""
        for part in self._parts.values():
            part.finish()

    def _begin(self, file: Any, held: dict[str, str]) -> None:
        """Make the file like the first input."""
        self.held, self.schema = held, file_schema(file, held)
        self.event_tree = counted_tree(file, held, self._counting)
        for path, class_name in held.items():
            if class_name in root.DIRECTORIES:
                self._merged.mkdir(path)
            elif class_name in root.TTREES:
                self._parts[path] = TreePart(self._merged, path, file[path])
            elif class_name in root.RNTUPLES:
                self._parts[path] = NtuplePart(self._merged, path)
            else:
                self._parts[path] = object_part(self._merged, path, class_name)
        trees = [self._parts[tree] for tree in root.trees_of(held)]
        self._only_tree = trees[0] if len(trees) == 1 and isinstance(trees[0], TreePart) else None

    def _take(self, source: Source, file: Any) -> None:
        """Add all parts of an input: its only TTree the quick way if it looks like the one before."""
        content = source if isinstance(source, bytes) else None
        quick = self._only_tree if self._layout is not None else None
        chunk = None if self._layout is None or content is None else self._layout.read_opened(content, file)
        if quick is not None and self._layout is not None and chunk is not None:
            quick.take(chunk)
            self.n_events += self._layout.n_entries if self.event_tree is not None else 0
        else:
            if problem := difference(self.schema, file_schema(file, self.held)):
                raise root.RootFileError(problem)
            self.n_events += events_in(file, self.event_tree, self._counting)
            quick = None
        for part in self._parts.values():
            if part is not quick:
                part.add(file)
        if quick is None and self._only_tree is not None and content is not None:
            self._layout = fast_reader.learn(content, self._only_tree.branches)


def _faults(inputs: Sequence[Input], counting: Counting) -> dict[int, str]:
    """Which inputs are at fault, once one of them was refused; none, when what is wrong is true of all."""
    try:
        return surveyed(inputs, counting, read=True).faults
    except Unsupported:
        return {}


def _compare(file: Any, merged: Any) -> None:
    """Compare the numbers of all trees of a file with those of what was made of it alone. Raises RootFileError."""
    held = contents_of(file)
    for tree in root.trees_of(held):
        if held[tree] in root.RNTUPLES:
            different = not same_numbers(file[tree], merged[tree])
        else:
            branches = branches_of(tree, file[tree])
            columns = (all_rows(tree, read[tree], branches) for read in (file, merged))
            different = not all(mine.is_same(theirs) for mine, theirs in zip(*columns, strict=True))
        if different:
            raise root.RootFileError(f"tree {tree!r} comes out with other numbers")


def _compression(options: Mapping[str, Any], source: str) -> Any:
    name, level = options.get("compression", "zstd"), options.get("level", 1)
    if name == "none":
        return None
    if name not in COMPRESSIONS:
        raise InvalidInput(source, f"{PREFIX}.compression", f"is {name!r}", expected=f"none, {', '.join(COMPRESSIONS)}")
    if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 9:
        raise InvalidInput(source, f"{PREFIX}.level", f"is {level!r}", expected="a whole number from 1 to 9")
    return COMPRESSIONS[name](level)


def _identity(context: MergeContext) -> UUID:
    try:
        return UUID(context.guid)
    except ValueError as error:
        raise MergeError(f"{context.lfn}: {context.guid!r} is not a GUID") from error
