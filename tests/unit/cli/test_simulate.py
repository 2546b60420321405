"""`raythena simulate` tells how the sites went, and fails when one broke a promise."""

import pytest

from raythena.cli import main
from raythena.testing import simulation


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_sites_that_keep_their_promises(capsys):
    code, out, _ = run(capsys, "--seeds", "2", "--first", "3")
    assert code == 0
    assert "2 of 2 sites kept every promise" in out


def test_a_broken_promise_is_told_with_its_seed(capsys, monkeypatch):
    def broken(seed):
        raise simulation.PromiseBroken("an event came out twice", ["a story"], "simulate(7)")

    monkeypatch.setattr(simulation, "simulate", broken)
    code, out, err = run(capsys, "--seeds", "1", "--first", "7")
    assert code == 11
    assert "seed 7: an event came out twice" in err
    assert "0 of 1" in out
