"""The list of keys is what uproot finds in the file, or nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import uproot

from raythena.storage.root.key_list import Key, Unsuitable, keys_of

BY_ROOT = Path(__file__).parents[2] / "fixtures" / "root" / "written_by_root"


def written(path: Path) -> bytes:
    with uproot.recreate(path, compression=None) as file:
        file.mktree("HITS", {"x": "f4"}).extend({"x": np.zeros(1, dtype="f4")})
        file["GUID"] = "a text"
        file["directory/words"] = "deeper"
    return path.read_bytes()


def by_uproot(path: Path) -> list[tuple[str, str, int, int, int]]:
    with uproot.open(path) as file:
        keys = [file.key(name) for name in file.keys(recursive=False)]
        return sorted(
            (key.fClassName, key.fName, key.fCycle, key.fSeekKey + key.fKeylen, key.fSeekKey + key.fNbytes) for key in keys
        )


def as_told(keys: list[Key]) -> list[tuple[str, str, int, int, int]]:
    return sorted((key.class_name, key.name, key.cycle, key.start, key.stop) for key in keys)


def test_the_keys_of_a_file_of_uproots(tmp_path: Path) -> None:
    content = written(tmp_path / "file")
    keys = keys_of(content)
    assert as_told(keys) == by_uproot(tmp_path / "file")
    assert [key.name for key in keys if key.is_plain and key.class_name == "TTree"] == ["HITS"]


@pytest.mark.parametrize("path", sorted(BY_ROOT.glob("*.root")), ids=lambda path: path.name)
def test_the_keys_of_files_of_roots_own(path: Path) -> None:
    assert as_told(keys_of(path.read_bytes())) == by_uproot(path)


def test_what_is_cut_short_or_longer_than_it_says_is_not_suitable(tmp_path: Path) -> None:
    content = written(tmp_path / "file")
    for length in range(0, len(content), 41):
        with pytest.raises((Unsuitable, struct.error)):
            keys_of(content[:length])
    with pytest.raises(Unsuitable):
        keys_of(content + b"\0")


def test_damage_gives_no_keys_outside_of_the_file(tmp_path: Path) -> None:
    content = written(tmp_path / "file")
    dice = np.random.default_rng(5)
    refused = 0
    at = content.rindex(b"TTree") - 100  # of the list
    for place in [*range(64), *range(at, min(at + 400, len(content)))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(dice.integers(8))
        try:
            keys = keys_of(bytes(damaged))
        except (Unsuitable, struct.error):
            refused += 1
            continue
        assert all(0 < key.start <= key.stop <= len(content) for key in keys)
    assert refused > 10
