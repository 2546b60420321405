"""One RNTuple of a merged file: the entries of all inputs, one behind the other, with the same fields."""

from __future__ import annotations

from typing import Any

import awkward as ak
import uproot

from raythena.storage.root import parts
from raythena.storage.root.contents import RootFileError, in_one_line
from raythena.storage.root.parts import Unsupported, writing


class NtuplePart:
    """One RNTuple of the output, and the arrays waiting to be written to it."""

    def __init__(self, merged: Any, path: str) -> None:
        self._merged = merged
        self._path = path
        self._writable: Any = None
        self._waiting: list[ak.Array] = []
        self._waiting_bytes = 0

    def add(self, file: Any) -> None:
        """Take all entries of one more file. Raises RootFileError naming the field that cannot be read, Unsupported."""
        ntuple = file[self._path]
        if self._writable is None:
            self._writable = self._made_like(ntuple)
        for start, stop in _steps(ntuple):
            self._waiting.append(arrays_of(self._path, ntuple, start, stop))
            self._waiting_bytes += self._waiting[-1].nbytes
            if self._waiting_bytes >= parts.CHUNK_BYTES:
                self.finish()

    def finish(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            with writing(f"tree {self._path!r}"):
                self._writable.extend(ak.concatenate(self._waiting))
            self._waiting, self._waiting_bytes = [], 0

    def _made_like(self, ntuple: Any) -> Any:
        form = arrays_of(self._path, ntuple, 0, 0).layout.form
        try:
            return self._merged.mkrntuple(self._path, form, ntuple.description)
        except OSError:
            raise
        except Exception as error:  # uproot refuses with errors of any class; the field that it means is found one by one
            for name, content in zip(form.fields, form.contents, strict=True):
                _check_field(self._path, name, content)
            raise Unsupported(f"tree {self._path!r} cannot be written: {in_one_line(error)}") from error


def read_through(path: str, ntuple: Any) -> None:
    """Read everything once. Raises RootFileError naming the field that cannot be read."""
    for start, stop in _steps(ntuple):
        arrays_of(path, ntuple, start, stop)


def same_numbers(one: Any, other: Any) -> bool:
    """Whether two of the same schema hold the same."""
    return bool(ak.array_equal(one.arrays(), other.arrays(), dtype_exact=True, equal_nan=True))


def arrays_of(path: str, ntuple: Any, start: int, stop: int) -> ak.Array:
    """Some entries. Raises RootFileError naming the field that cannot be read."""
    try:
        # a copy: what was read must not keep the input mapped into memory
        return ak.copy(ntuple.arrays(entry_start=start, entry_stop=stop))
    except Exception as error:  # as above
        for field in ntuple.fields:
            try:
                ntuple.arrays([field.name], entry_start=start, entry_stop=stop)
            except Exception as problem:
                raise RootFileError(f"field {field.name!r} of {path!r} cannot be read: {in_one_line(problem)}") from problem
        raise RootFileError(f"tree {path!r} cannot be read: {in_one_line(error)}") from error


def _steps(ntuple: Any) -> list[tuple[int, int]]:
    """Stretches of entries that take about `CHUNK_BYTES`."""
    entries = int(ntuple.num_entries)
    step = max(1, entries if entries < 2 else int(ntuple.num_entries_for(parts.CHUNK_BYTES)))
    return [(start, min(start + step, entries)) for start in range(0, entries, step)]


def _check_field(path: str, name: str, content: Any) -> None:
    import io

    try:
        with uproot.recreate(io.BytesIO()) as scratch:
            scratch.mkrntuple("t", ak.forms.RecordForm([content], [name]))
    except Exception as error:
        raise Unsupported(f"field {name!r} of {path!r} cannot be merged by merger 'root': {in_one_line(error)}") from error
