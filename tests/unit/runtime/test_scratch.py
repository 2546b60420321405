"""Scratch directories go with their owner, or with the next one who may know that it is dead."""

import asyncio

import pytest

from raythena.domain.errors import StorageError
from raythena.runtime import scratch
from raythena.runtime.scratch import ScratchWatch, scratch_directory


@pytest.fixture
def left_behind(tmp_path):
    """Makes a directory whose owner was killed before it could remove it; returns its path."""

    def leave(task="/task", session="s1", place="node-a"):
        with scratch_directory(str(tmp_path), task, session, place) as scratch:
            (scratch / "output").write_bytes(b"half an event")
            kept = tmp_path / "kept"
            scratch.rename(kept)
        kept.rename(scratch)
        return scratch

    return leave


def test_it_is_gone_with_everything_in_it(tmp_path):
    with scratch_directory(str(tmp_path), "/task", "s1", "node-a") as scratch:
        (scratch / "deep").mkdir()
        (scratch / "deep" / "file").write_bytes(b"x")
        assert scratch.parent == tmp_path
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("whose", "removed"),
    [
        ({}, True),
        ({"session": "s0"}, True),
        ({"session": "s0", "place": "node-b"}, True),
        ({"place": "node-b"}, False),
        ({"task": "/another"}, False),
        ({"task": "/another", "session": "s0"}, False),
    ],
)
def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path, left_behind, whose, removed):
    old = left_behind(**whose)
    with scratch_directory(str(tmp_path), "/task", "s1", "node-a") as scratch:
        assert scratch.is_dir()
        assert old.exists() is not removed


def test_two_nodes_of_one_machine_do_not_disturb_each_other(tmp_path):
    with scratch_directory(str(tmp_path), "/task", "s1", "node-a") as one:
        with scratch_directory(str(tmp_path), "/task", "s1", "node-b") as other:
            assert one.is_dir()
            assert one != other
        assert one.is_dir()


def test_sockets_find_room_below_it(tmp_path):
    with scratch_directory("/tmp", str(tmp_path), "20260101-000000-abcdef", "a-host-with-quite-a-long-name-0a1b2c") as scratch:
        assert len(f"{scratch}/payload-12345678/sockets") < 75


def test_a_disk_without_room_for_another_output_refuses_until_patience_ends(tmp_path):
    watch = ScratchWatch(tmp_path, patience_s=10.0)
    asyncio.run(watch.look(0.0))
    assert (watch.refusal, watch.refused_for_s(5.0)) == ("", 0.0)
    watch.produced(1 << 60)
    asyncio.run(watch.look(20.0))
    assert "no space left" in watch.refusal
    asyncio.run(watch.look(29.0))
    assert watch.refused_for_s(29.0) == 9.0
    with pytest.raises(StorageError, match="has refused for 11 s"):
        asyncio.run(watch.look(31.0))


def test_the_disk_is_to_blame_while_it_refuses_and_a_little_later_for_those_who_say_so(tmp_path, monkeypatch):
    refusals = iter(["", "no space left", ""])
    monkeypatch.setattr(scratch, "refusal", lambda directory, wanted_bytes: next(refusals))
    watch = ScratchWatch(tmp_path, patience_s=10.0)
    full, other = "OSError: [Errno 28] No space left on device: 'x'", "segmentation fault"
    asyncio.run(watch.look(0.0))
    assert not watch.is_to_blame(full, 0.0)
    asyncio.run(watch.look(20.0))
    assert watch.is_to_blame(other, 20.0)
    asyncio.run(watch.look(21.0))
    assert watch.is_to_blame(full, 22.0)
    assert not watch.is_to_blame(other, 22.0)
    assert not watch.is_to_blame(full, 60.0)
