"""Two mergers that know nothing of formats: bytes one after the other, and a Python function of the user's.

Both write to the path they are given and nowhere else; what they leave there after an error is the caller's to remove.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput, MergeError
from raythena.payloads.plugin_options import function_name, refuse_unknown, string_list
from raythena.runtime.merger_interface import MergeContext, StoredEvent

COPY_BYTES = 1 << 20
_OWN = "Merge with a function of your own (`python`), or write one line or record for each event"
CONTAINERS = {
    "ROOT": (b"root\0", "Say `merge: root`, or `hadd`"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", _OWN),
    "Parquet": (b"PAR1", _OWN),
    "Arrow": (b"ARROW1", _OWN),
    "ZIP": (b"PK\3\4", _OWN),
    "SQLite": (b"SQLite format 3\0", _OWN),
}
"""Formats with a table of contents at the end or the start of a file, by how a file begins."""
LONGEST_START = 16
LONGEST_TRACEBACK = 3000
PREFIX = "merge.options"
KNOWN_OPTIONS = ("function", "path", "options")


class ConcatMerger:
    """The merger `concat`."""

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> None:
        """Write the bytes of the inputs one after the other. Raises MergeError naming the file that could not be copied."""
        if len(inputs) > 1:
            self.check_sample(inputs[0], context)
        with output.open("wb") as target:
            for path in inputs:
                try:
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, target, COPY_BYTES)
                except OSError as problem:
                    raise MergeError(f"{context.lfn}: copying {path} failed: {problem}") from problem

    def merge_stored(self, outputs: Sequence[StoredEvent], output: Path, context: MergeContext) -> None:
        """The same with outputs that have no files of their own."""
        with output.open("wb", COPY_BYTES) as target:
            for position, stored in enumerate(outputs):
                content = stored.read()
                if position == 0 and len(outputs) > 1:
                    self._check_start(content[:LONGEST_START], context)
                target.write(content)

    def check_sample(self, sample: Path, context: MergeContext) -> None:
        """Refuse files of which every reader would see one event only. Raises MergeError."""
        try:
            with sample.open("rb") as stream:
                start = stream.read(LONGEST_START)
        except OSError as problem:
            raise MergeError(f"{context.lfn}: copying {sample} failed: {problem}") from problem
        self._check_start(start, context)

    def _check_start(self, start: bytes, context: MergeContext) -> None:
        for kind, (beginning, remedy) in CONTAINERS.items():
            if start.startswith(beginning):
                raise MergeError(f"{context.lfn}: {kind} files one behind the other are no {kind} file. {remedy}")


merge_concat = ConcatMerger()


def merge_python(inputs: Sequence[Path], output: Path, context: MergeContext) -> None:
    """Call the user's `function(inputs, output, context)`; `context.options` is the mapping `options` of the merge options.

    Raises InvalidInput for options that cannot work, MergeError with the traceback when the function raises or writes no file.
    """
    check_python_options(context.options, "job")
    function = _load(context.options)
    try:
        function(list(inputs), output, replace(context, options=dict(context.options.get("options", {}))))
    except MergeError:
        raise
    except Exception as problem:
        # The function is the user's: whatever it raises is told in full and ends this merge only.
        story = traceback.format_exc()[-LONGEST_TRACEBACK:]
        raise MergeError(f"{context.lfn}: the merge function {context.options['function']} failed: {story}") from problem
    if not output.is_file():
        raise MergeError(f"{context.lfn}: the merge function {context.options['function']} wrote no file")


def check_python_options(options: Mapping[str, Any], source: str) -> None:
    """Refuse options `merge_python` could not work with. Raises InvalidInput naming the field."""
    refuse_unknown(options, KNOWN_OPTIONS, source, PREFIX)
    if not function_name(options, "function", source, PREFIX):
        raise InvalidInput(source, f"{PREFIX}.function", "missing", expected="package.module:function")
    string_list(options, "path", source, PREFIX)
    if not isinstance(options.get("options", {}), Mapping):
        raise InvalidInput(source, f"{PREFIX}.options", "not a mapping", expected="a mapping, handed to the function")


def _load(options: Mapping[str, Any]) -> Callable[..., Any]:
    sys.path[:0] = [entry for entry in options.get("path", []) if entry not in sys.path]
    module, _, attribute = options["function"].partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as problem:
        # Importing runs the user's module, which may raise anything.
        raise InvalidInput("job", f"{PREFIX}.function", f"{options['function']!r} cannot be loaded: {problem!r}") from problem
    if not callable(found):
        raise InvalidInput("job", f"{PREFIX}.function", f"{options['function']!r} is not a function")
    return found  # type: ignore[no-any-return]
