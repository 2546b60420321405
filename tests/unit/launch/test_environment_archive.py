"""The environment as an archive: moved to another place it is the same, and what was damaged on the way is refused."""

import json
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from raythena.domain.errors import InvalidInput, StorageError
from raythena.launch import environment_archive
from raythena.launch.environment_archive import checked, checksum_file, make_archive, unpack

LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = f"{LIBRARY}/site-packages"
ASK = """
import json, os, sys, mine
print(json.dumps([sys.prefix, sys.base_prefix, os.__file__, mine.__file__]))
"""


@pytest.fixture
def environment(tmp_path):
    """A virtual environment with a package of its own."""
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (place / PACKAGES / "mine.py").write_text("VALUE = 7\n")
    (place / PACKAGES / "large").mkdir()
    (place / PACKAGES / "large/data").write_bytes(bytes(1000))
    (place / PACKAGES / "zeros").hardlink_to(place / PACKAGES / "large/data")
    return place


@pytest.fixture
def archive(environment, tmp_path):
    """Without the Python below it, as where that is the system's."""
    path = tmp_path / "shared/environment.tar"
    path.parent.mkdir()
    make_archive(path, prefix=environment, base=environment)
    return path


def asked(python):
    done = subprocess.run([python, "-P", "-c", ASK], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return [Path(text) for text in json.loads(done.stdout)]


def test_the_environment_works_elsewhere(archive, environment, tmp_path):
    (tmp_path / "node").mkdir()
    python = unpack(archive, checked(archive), tmp_path / "node")
    prefix, _, _, mine = asked(python)
    assert prefix == tmp_path / "node/environment"
    assert mine.is_relative_to(prefix)
    assert (prefix / PACKAGES / "zeros").stat().st_size == 1000
    assert (prefix / PACKAGES / "raythena/launch/environment_archive.py").exists(), "installed in place, it comes along"


@pytest.mark.slow
def test_the_python_below_it_comes_along(environment, tmp_path):
    path = tmp_path / "environment.tar"
    made = make_archive(path, prefix=environment, base=Path(sys.base_prefix))
    if not any(name.startswith("base/") for name in names(path)):
        pytest.skip("the system's own Python is not moved")
    (tmp_path / "node").mkdir()
    prefix, base, library, _ = asked(unpack(path, made.sha256, tmp_path / "node"))
    assert (prefix, base) == (tmp_path / "node/environment", tmp_path / "node/base")
    assert library.is_relative_to(base)


def names(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_what_is_of_the_python_below_it(environment, tmp_path, monkeypatch):
    """Its program, library and modules; not what was installed there, and not its tests."""
    base = tmp_path / "python"
    program = f"bin/python{sysconfig.get_python_version()}"
    for name in (program, "lib/libpython3.so.1", f"{LIBRARY}/os.py", f"{LIBRARY}/test/big.py"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("")
    (base / PACKAGES).mkdir()
    (base / PACKAGES / "other.py").touch()
    make_archive(tmp_path / "a.tar", prefix=environment, base=base)
    below = [name for name in names(tmp_path / "a.tar") if name.startswith("base/")]
    assert below == [f"base/{program}", "base/lib/libpython3.so.1", f"base/{LIBRARY}/os.py"]


def test_what_is_left_out_is(environment, tmp_path):
    path = tmp_path / "a.tar"
    make_archive(path, [f"{PACKAGES}/large*"], prefix=environment, base=environment)
    assert not [name for name in names(path) if f"{PACKAGES}/large" in name]
    assert f"environment/{PACKAGES}/mine.py" in names(path)


@pytest.mark.parametrize("damage", ["cut", "changed", "longer"])
def test_a_copy_that_is_not_the_same_is_refused(archive, tmp_path, damage):
    sha256 = checked(archive)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "changed":
        data[len(data) // 2] ^= 1
    else:
        data += b"\0"
    archive.write_bytes(data)
    (tmp_path / "node").mkdir()
    with pytest.raises(StorageError, match="damaged"):
        unpack(archive, sha256, tmp_path / "node")


def test_an_archive_that_is_not_there_is_named_where_it_was_wanted(tmp_path):
    with pytest.raises(InvalidInput, match=r"launch\.environment.*No such file.*raythena stage"):
        checked(tmp_path / "missing.tar")


def test_an_archive_of_something_else_is_refused(archive, tmp_path):
    archive.write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match="expected an archive of the environment"):
        checked(archive)


def test_an_archive_of_other_versions_is_refused(archive, monkeypatch):
    monkeypatch.setattr(environment_archive, "version", lambda _: "2.9.0")
    with pytest.raises(InvalidInput, match=r"has ray .*, this environment has 2\.9\.0"):
        checked(archive)


def test_an_archive_without_its_checksum_is_refused(archive):
    checksum_file(archive).write_text("")
    with pytest.raises(InvalidInput, match="is empty"):
        checked(archive)
    checksum_file(archive).unlink()
    with pytest.raises(InvalidInput, match="No such file"):
        checked(archive)


@pytest.mark.parametrize("name", ["../outside", "/outside", "environment/../../outside"])
def test_nothing_is_written_elsewhere(archive, tmp_path, name):
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "node").mkdir()
    with pytest.raises(StorageError, match="does not belong"):
        unpack(archive, "", tmp_path / "node")
    assert not (tmp_path / "outside").exists()
