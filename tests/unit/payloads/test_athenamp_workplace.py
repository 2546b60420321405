"""Outputs found in a transform's directory, and the worker that has a range."""

import os

import pytest

from athenamp_stand_in.content import hits_file, hits_mould
from raythena.payloads.athenamp.messages import token_of
from raythena.payloads.athenamp.workplace import Workplace, is_open_in, root_ends
from raythena.payloads.workers.output_inspection import BadOutput

TOKEN = token_of(5)


@pytest.fixture(scope="module")
def content():
    return hits_file(hits_mould(), 17)


@pytest.fixture
def place(tmp_path):
    worker = tmp_path / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0"
    worker.mkdir(parents=True)
    return worker


def test_a_root_file_says_where_it_ends_and_whether_it_was_closed(tmp_path, content):
    path = tmp_path / "a.root"
    path.write_bytes(content)
    assert root_ends(path) == (len(content), True)
    open_one = bytearray(content)
    open_one[37:41] = bytes(4)  # fSeekInfo of a small file: nothing is there yet
    path.write_bytes(open_one)
    assert root_ends(path) == (len(content), False)
    path.write_bytes(b"not so")
    assert root_ends(path) is None
    assert root_ends(tmp_path / "nothing") is None


def test_a_report_is_believed_when_the_file_is_there(place, tmp_path, content):
    output = place / f"HITS.{TOKEN}"
    output.write_bytes(content)
    found = Workplace(tmp_path).inspect(str(output))
    assert (found.path, found.size_bytes) == (output, len(content))


def test_a_path_inside_a_container_is_found_on_this_side(place, tmp_path, content):
    output = place / f"HITS.{TOKEN}"
    output.write_bytes(content)
    inside = f"/srv/{output.relative_to(tmp_path)}"
    assert Workplace(tmp_path).inspect(inside).path == output


@pytest.mark.parametrize(("change", "complaint"), [("cut", "truncated"), ("emptied", "empty"), ("gone", "No such file")])
def test_a_report_is_not_believed_when_it_is_not(place, tmp_path, content, change, complaint):
    output = place / f"HITS.{TOKEN}"
    if change != "gone":
        output.write_bytes(content[: len(content) // 2] if change == "cut" else b"")
    with pytest.raises(BadOutput, match=complaint):
        Workplace(tmp_path).inspect(str(output))


def test_an_output_elsewhere_is_refused(tmp_path):
    with pytest.raises(BadOutput, match="outside"):
        Workplace(tmp_path).inspect("/etc/passwd")


def test_only_complete_and_closed_outputs_are_salvaged(place, tmp_path, content):
    workplace, output = Workplace(tmp_path), place / f"HITS.{TOKEN}"
    assert workplace.salvaged(TOKEN, None) is None
    output.write_bytes(content[:-100])
    assert workplace.salvaged(TOKEN, None) is None
    output.write_bytes(content)
    with output.open("rb"):
        assert is_open_in(os.getpid(), output)
        assert workplace.salvaged(TOKEN, os.getpid()) is None
    (place / f"AOD.{TOKEN}").write_bytes(content)
    assert workplace.salvaged(TOKEN, None) is None
    (place / f"AOD.{TOKEN}").unlink()
    assert workplace.salvaged(TOKEN, os.getpid(), before=output.stat().st_mtime) is None
    assert workplace.salvaged(TOKEN, os.getpid()).path == output


def test_the_log_of_a_range_is_that_of_its_worker(place, tmp_path):
    (place / "AthenaMP.log").write_text(f"INFO Received RangeID={TOKEN}\nat work\n")
    assert Workplace(tmp_path).log_of(TOKEN).endswith("at work")
    assert Workplace(tmp_path).log_of(token_of(9)) == ""
