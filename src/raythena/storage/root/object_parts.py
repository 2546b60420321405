"""What stands in a ROOT file beside its trees: histograms are added, texts are kept if all inputs have the same.

A histogram is added as ROOT adds it: contents, errors, sums and number of entries; axes, labels and everything else must be the
same in all inputs. Whatever else an input holds cannot be merged and is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from raythena.storage.root.contents import RootFileError, taken
from raythena.storage.root.parts import Part, Unsupported, writing

_HISTOGRAM = re.compile(r"TH[123][CSIFD]|TProfile[23]?D?")
_TEXTS = ("TObjString", "TNamed")
_ARRAY = re.compile(r"TArray[CSILFD]")
_SUMS = re.compile(r"fEntries|fTsumw[xyz]{0,2}2?")
_SUMMED_ARRAYS = ("fSumw2", "fBinEntries", "fBinSumw2")
_IGNORED = ("@fUniqueID", "@fBits", "@pidf")
"""Bookkeeping of the process that wrote the object."""
_IS_AVERAGE = 1 << 18
"""TH1::kIsAverage: contents that are not to be added."""


def object_part(merged: Any, path: str, class_name: str) -> Part:
    """The part for something that is no tree. Raises Unsupported."""
    if _HISTOGRAM.fullmatch(class_name):
        return HistogramSum(merged, path)
    if class_name in _TEXTS:
        return SameText(merged, path)
    raise Unsupported(
        f"object {path!r} of class {class_name} cannot be merged by merger 'root', which adds histograms and keeps texts"
    )


class SameText:
    """A text that must be the same in all inputs."""

    def __init__(self, merged: Any, path: str) -> None:
        self._merged = merged
        self._path = path
        self._kept: Any = None

    def add(self, file: Any) -> None:
        """Compare it with that of the first input."""
        found = taken(file, self._path)
        if self._kept is None:
            self._kept = found
        elif _text(found) != _text(self._kept):
            raise Unsupported(
                f"object {self._path!r} is {_text(found)!r}, in other inputs {_text(self._kept)!r}: only one can be kept"
            )

    def finish(self) -> None:
        """Write it."""
        with writing(f"object {self._path!r}"):
            self._merged[self._path] = str(self._kept) if isinstance(self._kept, str) else self._kept


class HistogramSum:
    """The sum of a histogram over all inputs."""

    def __init__(self, merged: Any, path: str) -> None:
        self._merged = merged
        self._path = path
        self._total: Any = None
        self._types: list[np.dtype[Any]] = []

    def add(self, file: Any) -> None:
        """Add one more."""
        found = taken(file, self._path)
        self._check(found)
        if self._total is None:
            self._total = found
            arrays = list(_arrays(found))
            self._types = [array._data.dtype for array in arrays]
            for array in arrays:  # sums of many small numbers in wide ones
                array._data = array._data.astype("f8" if array._data.dtype.kind == "f" else "i8")
        elif difference := _add(self._total, found):
            raise RootFileError(f"histogram {self._path!r} differs from that of other inputs in {difference}")

    def finish(self) -> None:
        """Write the sum."""
        for array, dtype in zip(_arrays(self._total), self._types, strict=True):
            narrow = array._data.astype(dtype)
            if dtype.kind in "iu" and not np.array_equal(narrow, array._data):
                raise Unsupported(f"histogram {self._path!r} overflows: its bins are {dtype.itemsize} bytes wide")
            array._data = narrow
        with writing(f"histogram {self._path!r}"):
            self._merged[self._path] = self._total

    def _check(self, found: Any) -> None:
        if found.member("fBufferSize"):
            raise Unsupported(f"histogram {self._path!r} has entries without bins, which cannot be added")
        if len(found.member("fFunctions")):
            raise Unsupported(f"histogram {self._path!r} has functions attached, which cannot be kept")
        if found.member("@fBits") & _IS_AVERAGE:
            raise Unsupported(f"histogram {self._path!r} is an average, which cannot be added")


def shape_of(found: Any, class_name: str) -> str:
    """What must be the same of two objects for them to be merged, as far as it can be said in a line."""
    if not _HISTOGRAM.fullmatch(class_name):
        return class_name
    axes = [found.member(f"f{axis}axis") for axis in "XYZ"]
    bins = [f"{axis.member('fNbins')} bins from {axis.member('fXmin'):g} to {axis.member('fXmax'):g}" for axis in axes]
    return f"{class_name} of {' by '.join(bins[: len(found.axes)])}"


def _text(found: Any) -> str:
    return str(found) if isinstance(found, str) else f"{found.member('fName')}: {found.member('fTitle')}"


def _arrays(model: Any) -> Iterator[Any]:
    """The arrays that are summed: bin contents and what goes with them."""
    if _ARRAY.fullmatch(model.classname):
        yield model
    yield from (model._members[name] for name in _SUMMED_ARRAYS if name in model._members)
    for base in model._bases:
        yield from _arrays(base)


def _add(total: Any, found: Any) -> str:
    """Add one histogram, or the part of it a base class has, to the total; the name of what differs and must not."""
    if _ARRAY.fullmatch(total.classname):
        return _add_array(total, found)
    for name, value in total._members.items():
        other = found._members.get(name)
        if _SUMS.fullmatch(name):
            total._members[name] = value + other
        elif name in _SUMMED_ARRAYS:
            if difference := _add_array(value, other):
                return f"{name}: {difference}"
        elif name not in _IGNORED and not _same(value, other):
            return str(name)
    for mine, theirs in zip(total._bases, found._bases, strict=True):
        if difference := _add(mine, theirs):
            return difference
    return ""


def _add_array(total: Any, found: Any) -> str:
    if len(total._data) != len(found._data):
        return f"{len(found._data)} bins instead of {len(total._data)}"
    total._data = total._data + found._data
    return ""


def _same(one: Any, other: Any) -> bool:
    """Whether two members are equal, whatever they are made of."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    if isinstance(one, str) or not hasattr(one, "_members"):
        return bool(one == other)
    if getattr(other, "classname", None) != one.classname:
        return False
    if hasattr(one, "_data"):
        return _plain(one._data) == _plain(other._data)
    names = [name for name in one._members if name not in _IGNORED]
    return all(_same(one._members[name], other._members.get(name)) for name in names) and all(
        _same(mine, theirs) for mine, theirs in zip(one._bases, other._bases, strict=True)
    )


def _plain(data: Any) -> list[str]:
    """Numbers of an array, or objects of a list, in a form that can be compared."""
    return [str(item) if isinstance(item, str) or not hasattr(item, "_members") else str(item.all_members) for item in data]
