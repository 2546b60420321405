"""Acknowledged means durable: whatever is killed, refused, torn or cut off, in whatever order the disk had it."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from disk_child import GROUP, JOB, batch
from ledger_kit import contents, ranges_of, stored

from needed_programs import compiler, need
from raythena.domain.errors import StorageError
from raythena.storage.ledger import Ledger

HERE = Path(__file__).parent
CHILD = HERE / "disk_child.py"


def groups_in(path: Path) -> list[int]:
    """Numbers of the commits a ledger remembers; checks that each is remembered whole and unaltered."""
    with Ledger.read(path) as view:
        found = list(view.groups())
        failures = {failure.range_index - 99_000 for failure in view.failures()}
        outputs = {output.output for output in view.restore().merged}
    numbers = [int(group.name[1:]) for group in found]
    for number, group in zip(numbers, found, strict=True):
        assert group.entries.tobytes() == batch(number)[0].group.entries.tobytes()
    assert failures == set(numbers)
    assert outputs == {number for number in numbers if number % 7 == 3}
    return numbers


def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.create(path, JOB).close()
    dice = random.Random(7)
    acknowledged: list[int] = []
    for _ in range(6):
        child = subprocess.Popen([sys.executable, CHILD, "endless", path], stdout=subprocess.PIPE, cwd=HERE)
        assert child.stdout is not None
        for _ in range(dice.randint(4, 12)):
            acknowledged.append(int(child.stdout.readline()))
        time.sleep(dice.uniform(0, 0.02))
        child.kill()
        acknowledged += map(int, child.stdout.read().split())
        child.wait()
        child.stdout.close()
        remembered = groups_in(path)
        assert remembered == list(range(len(remembered)))
        assert acknowledged == remembered[: len(acknowledged)]
        assert len(remembered) <= len(acknowledged) + 1
        acknowledged = remembered
    assert len(acknowledged) > 20


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that stands between a program and the disk."""
    library = tmp_path_factory.mktemp("recorder") / "disk_recorder.so"
    arguments = ["-shared", "-fPIC", "-O1", "-o", library, "-x", "c", HERE / "disk_recorder.c", "-ldl"]
    subprocess.run([*compiler("c"), *arguments], check=True)
    return library


def run_child(recorder: Path, directory: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(recorder), "RECORDED_DIRECTORY": str(directory)}
    environment["RECORD"] = str(directory.with_name("record"))
    return subprocess.run(
        [sys.executable, CHILD, *map(str, arguments)], env=environment, cwd=HERE, capture_output=True, text=True, check=False
    )


def test_every_refusal_of_the_disk_is_survived(recorder: Path, tmp_path: Path) -> None:
    directory = tmp_path / "disk"
    directory.mkdir()
    ended = run_child(recorder, directory, "refused", directory, recorder)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 40, "the disk did refuse"


@dataclass
class Disk:
    """A disk that keeps what was synchronised, and of the rest whatever it likes."""

    files: dict[str, list[bytearray | list[Callable[[bytearray], None]]]] = field(default_factory=dict)
    """By name, as running programs see it: [content that is safe, changes that are not]."""
    safe_names: dict[str, list[bytearray | list[Callable[[bytearray], None]]]] = field(default_factory=dict)
    name_changes: list[Callable[[dict[str, object]], object]] = field(default_factory=list)

    def _file(self, path: str) -> list[bytearray | list[Callable[[bytearray], None]]]:
        if path not in self.files:
            file = self.files[path] = [bytearray(), []]
            self.name_changes.append(lambda names: names.__setitem__(path, file))
        return self.files[path]

    def write(self, path: str, offset: int, data: bytes) -> None:
        self._file(path)[1].append((offset, data))  # type: ignore[union-attr, arg-type]

    def truncate(self, path: str, length: int) -> None:
        self._file(path)[1].append((length, None))  # type: ignore[union-attr, arg-type]

    def sync(self, path: str) -> None:
        if path in self.files:
            content, changes = self.files[path]
            for change in changes:
                _apply(content, *change)  # type: ignore[arg-type, misc]
            changes.clear()  # type: ignore[union-attr]
        else:  # a directory
            for change in self.name_changes:
                change(self.safe_names)  # type: ignore[arg-type]
            self.name_changes.clear()

    def rename(self, old: str, new: str) -> None:
        file = self.files.pop(old)
        self.files[new] = file

        def carry_out(names: dict[str, object]) -> None:
            names.pop(old, None)
            names[new] = file

        self.name_changes.append(carry_out)

    def unlink(self, path: str) -> None:
        self.files.pop(path, None)
        self.name_changes.append(lambda names: names.pop(path, None))

    def after_power_cut(self, dice: random.Random) -> dict[str, bytes]:
        """Names and contents when the power comes back: names changed in order up to some point, writes lost or torn at will."""
        names = dict(self.safe_names)
        for change in self.name_changes[: dice.randint(0, len(self.name_changes))]:
            change(names)  # type: ignore[arg-type]
        survivors = dice.choice([0.0, 0.5, 0.9, 1.0])
        result = {}
        for name, (safe, changes) in names.items():
            content = bytearray(safe)  # type: ignore[arg-type]
            for position, data in changes:  # type: ignore[misc]
                if dice.random() < survivors:
                    _apply(content, position, _torn(data, dice))
            result[name] = bytes(content)
        return result


def _torn(data: bytes | None, dice: random.Random) -> bytes | None:
    """A write may reach the disk in part, in sectors of 512 bytes."""
    if data is None or dice.random() < 0.7:
        return data
    return data[: 512 * dice.randint(0, len(data) // 512)]


def _apply(content: bytearray, position: int, data: bytes | None) -> None:
    if data is None:
        del content[position:]
        content.extend(bytes(max(0, position - len(content))))
    else:
        content.extend(bytes(max(0, position - len(content))))
        content[position : position + len(data)] = data


def changes_of(record: Path) -> Iterator[tuple[str, int, str, bytes]]:
    """(kind, offset, path, data) of each change, in order."""
    content = record.read_bytes()
    position = 0
    while position < len(content):
        kind, offset, length, path_length = struct.unpack_from("<cqqq", content, position)
        position += 25
        path = content[position : position + path_length].decode()
        position += path_length
        data = content[position : position + length] if kind in b"wr" else b""
        position += len(data)
        yield kind.decode(), offset, path, data


def test_a_power_cut_at_any_moment_loses_nothing_acknowledged(recorder: Path, tmp_path: Path) -> None:
    """What was not synchronised is lost, kept, reordered or torn at random after every single change."""
    directory = tmp_path / "disk"
    directory.mkdir()
    ended = run_child(recorder, directory, "recorded", directory / "ledger.sqlite")
    assert ended.returncode == 0, ended.stderr
    disk = Disk()
    told: list[int] = []
    dice = random.Random(11)
    seen = set()
    for kind, offset, path, data in changes_of(tmp_path / "record"):
        if path.endswith("/told"):
            told.append(int(data))
            continue
        {
            "w": lambda: disk.write(path, offset, data),  # noqa: B023
            "t": lambda: disk.truncate(path, offset),  # noqa: B023
            "s": lambda: disk.sync(path),  # noqa: B023
            "u": lambda: disk.unlink(path),  # noqa: B023
            "r": lambda: disk.rename(path, data.decode()),  # noqa: B023
        }[kind]()
        remembered = after_power_cut(disk, dice, tmp_path / "after")
        seen.add(remembered)
        assert remembered >= max(told, default=-1), "an acknowledged commit was lost"
        assert remembered <= max(told, default=-1) + 1
    assert seen >= set(range(25)), "every commit was cut off somewhere"


def after_power_cut(disk: Disk, dice: random.Random, directory: Path) -> int:
    """The last commit remembered, 0 for none; -1 when the ledger was not created yet."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in disk.after_power_cut(dice).items():
        (directory / Path(name).name).write_bytes(content)
    path = directory / "ledger.sqlite"
    if not path.exists():
        return -1
    numbers = groups_in(path)
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite", JOB) as ledger:
        assert_survives_full_disk(ledger, tmp_path, lambda full: limit_files(400_000 if full else None))


def limit_files(size_bytes: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size_bytes is None else size_bytes, hard))


def test_a_full_file_system(tmp_path: Path) -> None:
    need("mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=False, capture_output=True, timeout=20
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    filler = tmp_path / "filler"
    try:
        with Ledger.create(tmp_path / "ledger.sqlite", JOB) as ledger:

            def change(full: bool) -> None:
                filler.write_bytes(bytes(1_000_000)) if full else filler.unlink()

            assert_survives_full_disk(ledger, tmp_path, change)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def assert_survives_full_disk(ledger: Ledger, directory: Path, change: Callable[[bool], None]) -> None:
    change(True)
    number = 0
    try:
        with contextlib.suppress(StorageError):
            while True:
                ledger.commit([stored(f"g{number}", range(number * GROUP, (number + 1) * GROUP))])
                number += 1
        assert 0 < number < 200
        for _ in range(3):
            with pytest.raises(StorageError, match="the disk refused the ledger"):
                ledger.commit([stored(f"large{part}", range(50_000 + part * 9000, 59_000 + part * 9000)) for part in range(3)])
        assert ranges_of(ledger.restore()) == list(range(number * GROUP))
    finally:
        change(False)
    ledger.commit([stored(f"g{number}", range(number * GROUP, (number + 1) * GROUP))])
    expected = contents(ledger.restore())
    ledger.close()
    with Ledger.open(directory / "ledger.sqlite", JOB) as again:
        assert contents(again.restore()) == expected
        assert ranges_of(again.restore()) == list(range((number + 1) * GROUP))
