"""Which launcher is at home where."""

import pytest

from raythena.domain.errors import InvalidInput
from raythena.launch.launcher import LaunchOrder, choose_launcher, launchers

IN_SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_CPUS_PER_NODE": "8(x3)", "SLURMD_NODENAME": "n2"}


@pytest.mark.parametrize(
    ("name", "environ", "chosen"),
    [
        ("auto", {}, "local"),
        ("auto", IN_SLURM, "slurm"),
        ("local", IN_SLURM, "local"),
        ("slurm", {}, "slurm"),
    ],
)
def test_auto_looks_where_it_is(name, environ, chosen):
    assert choose_launcher(name, environ).name == chosen


def test_a_launcher_that_is_not_there():
    with pytest.raises(InvalidInput, match=r"--on: no launcher called 'lsf'; expected one of auto, local, .*slurm"):
        choose_launcher("lsf", {})


def test_an_installation_from_before_there_were_launchers_is_told_apart(monkeypatch):
    monkeypatch.setattr("raythena.launch.launcher.entry_points", lambda group: [])
    with pytest.raises(InvalidInput, match=r"no launcher is installed.*make install"):
        choose_launcher("auto", {})


def test_every_plug_in_is_called_what_it_is_registered_as():
    for name, plugin in launchers().items():
        assert plugin.name == name


@pytest.mark.parametrize(
    ("name", "order", "words"),
    [
        ("local", LaunchOrder({}, "", ""), "2 nodes × 1 cores"),
        ("local", LaunchOrder({}, "", "", nodes=3, cores=4), "3 nodes × 4 cores"),
        ("slurm", LaunchOrder(IN_SLURM, "", ""), "3 nodes of Slurm job 7"),
        ("slurm", LaunchOrder(IN_SLURM, "", "", nodes=2), "2 nodes of Slurm job 7"),
    ],
)
def test_nodes_in_words(name, order, words):
    assert launchers()[name].words(order) == words
