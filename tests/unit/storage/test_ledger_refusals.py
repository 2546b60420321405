"""What is no usable ledger is refused with a clear word, and not a byte of it or beside it is touched."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_kit import contents, failed, files_below, job, merged, retracted, stored

from raythena.domain.errors import LedgerCorrupt, LedgerError, LedgerForeign
from raythena.storage.ledger import Ledger, SessionInfo

JOB = job(2000)


def fill(ledger: Ledger) -> None:
    ledger.begin_session(SessionInfo("s-1", "login1", 4711, 1000.0))
    for start in range(0, 1600, 64):
        ledger.commit([stored(f"g{start}", range(start, start + 64), output=start // 1000), failed(1700 + start // 64)])
    ledger.commit([retracted("g64", 70, 71), failed(70, final=True), merged(1, n_events=600), failed(1999, 3, final=True)])


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger closed in peace."""
    path = tmp_path_factory.mktemp("peaceful") / "ledger.sqlite"
    with Ledger.create(path, JOB) as ledger:
        fill(ledger)
    return path


@pytest.fixture(scope="module")
def abandoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its journal, as kill -9 leaves it."""
    directory = tmp_path_factory.mktemp("abandoned")
    with Ledger.create(directory / "live.sqlite", JOB) as ledger:
        fill(ledger)
        for suffix in ("", "-wal"):
            shutil.copy(directory / f"live.sqlite{suffix}", directory / f"ledger.sqlite{suffix}")
    return directory / "ledger.sqlite"


def copied(source: Path, directory: Path) -> Path:
    for suffix in ("", "-wal"):
        if source.with_name(source.name + suffix).exists():
            shutil.copy(source.with_name(source.name + suffix), directory / f"ledger.sqlite{suffix}")
    return directory / "ledger.sqlite"


def patched(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def altered_row(path: Path, statement: str) -> None:
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        assert connection.execute(statement).rowcount == 1
    connection.close()


def other_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (a TEXT)")
    connection.close()


def as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a text file": (lambda path: path.write_text("event 1 done\n" * 1000), "does not begin as a SQLite database"),
    "a short text file": (lambda path: path.write_text("{}"), "does not begin as a SQLite database"),
    "another program's database": (other_database, "not a Raythena ledger"),
    "a directory": (as_directory, "is a directory"),
    "a newer schema": (lambda path: patched(path, 60, struct.pack(">I", 9)), "newer Raythena"),
}
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "half a header": (lambda path: path.write_bytes(path.read_bytes()[:50]), "inside its header"),
    "one page missing": (lambda path: path.write_bytes(path.read_bytes()[:-16384]), "promises"),
    "half of it": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "promises"),
    "something appended": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "promises"),
    "a page of zeros": (lambda path: patched(path, 16384 * 4, bytes(16384)), "damaged"),
    "a schema of nought": (lambda path: patched(path, 60, struct.pack(">I", 0)), "schema 0"),
    "an altered blob": (
        lambda path: altered_row(path, "UPDATE groups SET entries = zeroblob(33) WHERE seq = 3"),
        "row 3 .* groups",
    ),
    "an altered number": (lambda path: altered_row(path, "UPDATE failures SET range = 12 WHERE seq = 2"), "row 2 .* failures"),
    "an altered GUID": (lambda path: altered_row(path, "UPDATE outputs SET guid = 'other'"), "row 1 .* outputs"),
    "a lost row": (lambda path: altered_row(path, "DELETE FROM groups WHERE seq = 5"), "row 5 .* groups is lost"),
    "a lost session": (lambda path: altered_row(path, "DELETE FROM sessions"), "rows instead of"),
    "an altered fingerprint": (
        lambda path: altered_row(path, "UPDATE meta SET value = 'x' WHERE key = 'fingerprint'"),
        "about itself",
    ),
    "a table of no ledger": (
        lambda path: altered_row(path, "UPDATE meta SET value = value WHERE key = 'job'") or _add_table(path),
        "tables",
    ),
}


def _add_table(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("CREATE TABLE more (a TEXT)")
    connection.close()


def assert_refused(path: Path, kind: type[LedgerError], complaint: str) -> None:
    before = files_below(path.parent)
    for opening in (lambda: Ledger.open(path, JOB), lambda: Ledger.read(path)):
        with pytest.raises(kind, match=complaint) as refusal:
            opening()
        assert str(path) in str(refusal.value)
        assert files_below(path.parent) == before


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_somebody_elses_is_refused_and_untouched(peaceful: Path, tmp_path: Path, name: str) -> None:
    path = copied(peaceful, tmp_path)
    damage, complaint = FOREIGN[name]
    damage(path)
    assert_refused(path, LedgerForeign, complaint)


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_and_untouched(peaceful: Path, tmp_path: Path, name: str) -> None:
    path = copied(peaceful, tmp_path)
    damage, complaint = DAMAGED[name]
    damage(path)
    assert_refused(path, LedgerCorrupt, complaint)


def test_another_job_is_refused_and_untouched(peaceful: Path, tmp_path: Path) -> None:
    path = copied(peaceful, tmp_path)
    before = files_below(tmp_path)
    for other in (job(2001, "another"), "0" * 64):
        with pytest.raises(LedgerForeign, match="belongs to another job: 'study'"):
            Ledger.open(path, other)
    assert files_below(tmp_path) == before


def test_a_journal_is_recovered(abandoned: Path, peaceful: Path, tmp_path: Path) -> None:
    path = copied(abandoned, tmp_path)
    before = files_below(tmp_path)
    with Ledger.read(peaceful) as view:
        expected = contents(view.restore())
    with Ledger.read(path) as view:
        assert contents(view.restore()) == expected
    assert files_below(tmp_path) == before
    with Ledger.open(path, JOB) as ledger:
        assert contents(ledger.restore()) == expected
        ledger.commit([failed(1998)])
    assert sorted(files_below(tmp_path)) == ["ledger.sqlite"]


def test_another_job_is_refused_with_its_journal_untouched(abandoned: Path, tmp_path: Path) -> None:
    path = copied(abandoned, tmp_path)
    before = files_below(tmp_path)
    with pytest.raises(LedgerForeign):
        Ledger.open(path, job(7))
    assert files_below(tmp_path) == before


def test_a_strangers_journal_beside_a_ledger_is_harmless(peaceful: Path, tmp_path: Path) -> None:
    path = copied(peaceful, tmp_path)
    path.with_name("ledger.sqlite-wal").write_bytes(b"not a journal" * 100)
    with Ledger.read(peaceful) as view, Ledger.read(path) as other:
        assert contents(view.restore()) == contents(other.restore())


@pytest.mark.parametrize("kind", ["flip", "truncate", "zeros", "garbage"])
def test_random_damage_is_noticed_or_harmless(peaceful: Path, tmp_path: Path, kind: str) -> None:
    """Never silently another history."""
    with Ledger.read(peaceful) as view:
        expected = contents(view.restore())
    noticed = 0
    for seed in range(60):
        dice = random.Random(f"{kind}{seed}")
        path = copied(peaceful, tmp_path)
        damaged(path, kind, dice)
        before = files_below(tmp_path)
        try:
            with Ledger.read(path) as view:
                assert contents(view.restore()) == expected, f"{kind}, seed {seed}"
        except (LedgerCorrupt, LedgerForeign):
            noticed += 1
        assert files_below(tmp_path) == before
    assert noticed > 10


def damaged(path: Path, kind: str, dice: random.Random) -> None:
    size_bytes = path.stat().st_size
    offset = dice.randrange(size_bytes) if dice.random() < 0.7 else dice.randrange(200)
    if kind == "truncate":
        with path.open("r+b") as stream:
            stream.truncate(offset)
    elif kind == "flip":
        patched(path, offset, bytes([path.read_bytes()[offset] ^ (1 << dice.randrange(8))]))
    else:
        length = min(dice.randrange(1, 5000), size_bytes - offset)
        patched(path, offset, bytes(length) if kind == "zeros" else dice.randbytes(length))


@pytest.mark.parametrize("kind", ["flip", "truncate", "zeros", "garbage"])
def test_random_damage_to_the_journal_leaves_a_moment_of_its_past(abandoned: Path, tmp_path: Path, kind: str) -> None:
    """A journal cut short cannot be told from a crash a little earlier; but nothing that never was may come out of it."""
    with Ledger.read(abandoned) as view:
        whole = view.restore()
    known = {group.name: group.entries.tobytes() for group in whole.groups if group.name != "g64"}
    for seed in range(25):
        dice = random.Random(f"{kind}{seed}")
        path = copied(abandoned, tmp_path)
        damaged(path.with_name("ledger.sqlite-wal"), kind, dice)
        try:
            with Ledger.read(path) as view:
                restored = view.restore()
        except LedgerError:
            continue
        names = [group.name for group in restored.groups]
        expected = [f"g{start}" for start in range(0, 1600, 64)][: len(names)]
        assert names == (expected if not restored.merged else [group.name for group in whole.groups])
        assert all(known.get(group.name, group.entries.tobytes()) == group.entries.tobytes() for group in restored.groups)
