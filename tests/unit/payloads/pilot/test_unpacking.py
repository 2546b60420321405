"""Archives of a pilot: what a release holds is unpacked, whatever else an archive may hold is refused, on every Python."""

import contextlib
import gzip
import io
import stat
import tarfile

import pytest

from raythena.domain.errors import PayloadError
from raythena.payloads.pilot.unpacking import unpack


def member(name, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def link(name, target, kind=tarfile.SYMTYPE):
    return member(name, kind, linkname=target)


def packed(path, *members, mode="w:gz", form=tarfile.PAX_FORMAT):
    """An archive of `members`, each an entry or (entry, content)."""
    with tarfile.open(path, mode, format=form) as archive:
        for each in members:
            info, content = each if isinstance(each, tuple) else (each, b"")
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


RELEASE = ((member("pilot3/pilot.py"), b"print(1)\n"), (member("pilot3/pilot/util/default.cfg", mode=0o755), b"x" * 20_000))


def tree(place):
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_and_directories_come_out(tmp_path, mode, form):
    deep = "pilot3/" + "/".join(["long" * 12] * 4) + "/ü.py"
    extra = (member(deep), b"deep") if form != tarfile.USTAR_FORMAT else (member("pilot3/flat.py"), b"deep")
    archive = packed(tmp_path / "pilot.tar", member("pilot3", tarfile.DIRTYPE), *RELEASE, extra, mode=mode, form=form)
    place = unpack(archive, tmp_path / "scratch" / "release")
    assert tree(place) == {
        "pilot3/pilot.py": b"print(1)\n",
        "pilot3/pilot/util/default.cfg": b"x" * 20_000,
        extra[0].name: b"deep",
    }


def test_modes_are_ours(tmp_path):
    entries = [member(name, mode=mode) for name, mode in (("run", 0o6777), ("read", 0o4644), ("shut", 0o000))]
    place = unpack(packed(tmp_path / "a", member("d", tarfile.DIRTYPE, mode=0o7000), *entries), tmp_path / "b")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert (modes["run"], modes["read"], modes["shut"]) == (0o755, 0o644, 0o644)
    assert modes["d"] & 0o7700 == 0o700


HOSTILE = {
    "an absolute name": member("/etc/raythena-was-here"),
    "a way up": member("pilot3/../../outside"),
    "a directory above": member("../outside", tarfile.DIRTYPE),
    "a symbolic link": link("pilot3/link", "/etc"),
    "a symbolic link that stays inside": link("pilot3/link", "pilot.py"),
    "a hard link": link("pilot3/link", "/etc/passwd", tarfile.LNKTYPE),
    "a named pipe": member("pilot3/pipe", tarfile.FIFOTYPE),
    "a device": member("pilot3/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a disk": member("pilot3/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
    "a file with holes": member("pilot3/holes", tarfile.GNUTYPE_SPARSE),
    "holes told by headers": member("pilot3/holes", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "100"}),
    "a kind nobody knows": member("pilot3/what", b"Z"),
}


@pytest.mark.parametrize("entry", HOSTILE.values(), ids=HOSTILE.keys())
def test_anything_else_is_refused(tmp_path, entry):
    (tmp_path / "in").mkdir()
    archive = packed(tmp_path / "pilot.tar.gz", *RELEASE, entry)
    with pytest.raises(PayloadError) as refused:
        unpack(archive, tmp_path / "in" / "release")
    assert str(archive) in str(refused.value)
    assert repr(entry.name) in str(refused.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "pilot.tar.gz"]


def test_a_file_behind_a_link_is_never_written(tmp_path):
    archive = packed(tmp_path / "a.tar", link("door", str(tmp_path)), (member("door/outside"), b"x"))
    with pytest.raises(PayloadError, match="'door' is a link"):
        unpack(archive, tmp_path / "release")
    assert not (tmp_path / "outside").exists()


def test_links_that_stand_there_are_not_followed(tmp_path):
    """A directory of temporary content may be anybody's: what stands at the place goes, what it points to stays."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("keep")
    for name in ("release", ".release.part"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    place = unpack(packed(tmp_path / "a.tar", *RELEASE), tmp_path / "release")
    assert not place.is_symlink()
    assert tree(tmp_path / "theirs") == {"file": b"keep"}


def test_what_was_there_is_replaced(tmp_path):
    """Also what somebody left who died half-way."""
    for name in ("release", ".release.part"):
        (tmp_path / name / "old").mkdir(parents=True)
    place = unpack(packed(tmp_path / "a.tar", *RELEASE), tmp_path / "release")
    assert [path.name for path in place.iterdir()] == ["pilot3"]
    assert not (tmp_path / ".release.part").exists()


def test_a_file_that_is_a_directory_too_is_refused(tmp_path):
    with pytest.raises(PayloadError, match="cannot be unpacked"):
        unpack(packed(tmp_path / "a", member("x"), member("x/y")), tmp_path / "release")


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path):
    zeros = packed(tmp_path / "zeros.tar.gz", (member("zeros"), bytes(3 << 20)))
    many = packed(tmp_path / "many.tar.gz", *(member(f"f{number}") for number in range(3000)))
    for archive in (zeros, many):
        assert archive.stat().st_size < 1 << 17
        with pytest.raises(PayloadError, match="larger than 1048576 bytes"):
            unpack(archive, tmp_path / "release", limit_bytes=1 << 20)
    assert unpack(zeros, tmp_path / "release", limit_bytes=3 << 20).is_dir()


@pytest.mark.timeout(20)
def test_a_size_below_zero_ends(tmp_path):
    """It sends some releases of the standard library back to where they came from, for ever."""
    header = bytearray(member("pilot3/pilot.py").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + (0x10000 - 512).to_bytes(2, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    before = member("pilot3/empty").tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(before + header + bytes(1024))
    with pytest.raises(PayloadError, match=r"negative size|damaged after 512 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "release")


def test_a_name_behind_a_name_is_the_one_that_counts(tmp_path):
    entry = member("harmless")
    entry.pax_headers = {"path": "../outside"}
    with pytest.raises(PayloadError, match="leads elsewhere"):
        unpack(packed(tmp_path / "a.tar", entry), tmp_path / "release")


def test_a_name_no_file_can_have_is_refused(tmp_path):
    entry = member("harmless")
    entry.pax_headers = {"path": "pilot\0.py"}
    with pytest.raises(PayloadError, match="cannot be unpacked"):
        unpack(packed(tmp_path / "a.tar", entry), tmp_path / "release")


def test_headers_on_headers_without_end_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(member("x", tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT) * 5000)
    with pytest.raises(PayloadError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "release")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    return {
        mode: packed(place / mode.replace(":", "."), *RELEASE, mode=mode).read_bytes() for mode in ("w", "w:gz", "w:bz2", "w:xz")
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_torn_archive_is_refused(whole, tmp_path, mode):
    content = whole[mode]
    end = len(content) - 1 if ":" in mode else content.rstrip(b"\0").rfind(b"x") // 512 * 512 + 512
    for length in {*range(0, end, max(1, end // 50)), end}:
        (tmp_path / "archive").write_bytes(content[:length])
        with pytest.raises(PayloadError, match="cannot be unpacked"):
            unpack(tmp_path / "archive", tmp_path / "release")
        assert not (tmp_path / "release").exists()


def test_a_header_that_cannot_be_read_is_not_the_end(whole, tmp_path):
    content = bytearray(whole["w"])
    content[1024 + 148] ^= 0xFF  # the checksum of the second header
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(PayloadError, match="damaged after 1024 bytes"):
        unpack(tmp_path / "archive", tmp_path / "release")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_altered_byte_is_told_as_damage(whole, tmp_path, mode):
    """Refused, or unpacked where nothing can be seen: the plain one has no checksum of its content."""
    content = whole[mode]
    for at in range(0, min(len(content), 1024), 3):
        (tmp_path / "archive").write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with contextlib.suppress(PayloadError):
            unpack(tmp_path / "archive", tmp_path / "in" / "release")
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "in"}


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no archive", mtime=0), b"PK\3\4" + bytes(600)])
def test_other_files_are_no_archives(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(PayloadError, match="cannot be unpacked"):
        unpack(tmp_path / "a", tmp_path / "release")
