"""`raythena simulate` tells how the sites went, and fails when one broke a promise."""

import pytest

from raythena.cli import main
from raythena.domain.errors import ExitCode
from raythena.testing.simulation import PromiseBroken, campaign, shrink


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_sites_that_keep_their_promises(capsys):
    code, out, _ = run(capsys, "--seeds", "2", "--first", "3", "--processes", "1")
    assert code == 0
    assert "2 of 2 schedules kept every promise" in out


def test_sites_of_a_wanted_size_without_faults(capsys):
    code, out, _ = run(capsys, "--seeds", "1", "--nodes", "6", "--cores", "2", "--events", "50", "--faults", "none")
    assert code == 0
    assert "faults    none" in out
    assert "50 events, 50 merged" in out


def test_a_broken_promise_is_told_with_its_seed(capsys, monkeypatch):
    def broken(seed, plan, parts=None):
        raise PromiseBroken("an event came out twice", ["a story"], "simulate(7)")

    for module in (campaign, shrink):
        monkeypatch.setattr(module, "simulate", broken)
    code, out, err = run(capsys, "--seeds", "1", "--first", "7", "--processes", "1")
    assert code == 11
    assert "seed 7: an event came out twice" in err
    assert "raythena simulate --first 7 --seeds 1" in err
    assert "0 of 1" in out


def test_a_kind_of_fault_that_there_is_not(capsys):
    code, _, err = run(capsys, "--faults", "network,weather")
    assert code == ExitCode.INVALID_INPUT
    assert "'weather' is no kind of fault" in err


def test_a_large_site_tells_how_busy_it_is(capsys):
    code, out, _ = run(capsys, "--scale", "--nodes", "4", "--cores", "4", "--events", "64", "--event-s", "10")
    assert code == ExitCode.OK
    assert [line.split(maxsplit=1)[0] for line in out.splitlines()] == [
        "site", "makespan", "occupancy", "begun", "messages", "coordinator", "files", "outcome",
    ]  # fmt: skip
    assert "4 nodes of 4 cores, 64 events of 10 s" in out
    assert out.splitlines()[-1].split() == ["outcome", "complete"]
