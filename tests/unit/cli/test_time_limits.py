"""Walltime, grace period and failure budget: from the command line to what the engine is told."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import pytest

from raythena.cli.run import time_limits
from raythena.cli.session import _stop_order, session_config
from raythena.cli.settings import load_settings
from raythena.domain.errors import InvalidInput
from raythena.domain.job import PayloadSpec
from raythena.domain.taxonomy import EndCause
from raythena.engine.engine_config import BudgetConfig, DeadlineConfig
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import small_job


def config_of(tmp_path, overrides, began=None):
    settings = load_settings(None, {}, overrides, directory=tmp_path).settings
    job = replace(small_job(), payload=PayloadSpec("python"))
    return session_config(job, TaskDirectory(tmp_path), settings, began)


def test_a_walltime_counts_from_the_start_of_the_command(tmp_path):
    assert config_of(tmp_path, time_limits("30m", None), began=1000.0).ends_at == 2800.0


def test_without_a_walltime_no_end_is_known(tmp_path):
    assert config_of(tmp_path, time_limits(None, None), began=1000.0).ends_at is None


def test_the_grace_period_is_the_drain_time(tmp_path):
    assert config_of(tmp_path, time_limits(None, 75.0)).engine.drain_limit_s == 75.0


def test_a_bad_walltime_names_the_option():
    with pytest.raises(InvalidInput) as caught:
        time_limits("90", None)
    assert caught.value.source == "--walltime"


def test_settings_have_the_defaults_of_the_engine(tmp_path):
    engine = config_of(tmp_path, {}).engine
    assert engine.budget == BudgetConfig()
    assert engine.deadline == DeadlineConfig()


def test_the_budget_can_be_set(tmp_path):
    budget = config_of(tmp_path, {"budget.max_failed_events": "0", "budget.max_lost_node_fraction": 0.5}).engine.budget
    assert budget.max_failed_events == 0
    assert budget.max_lost_node_fraction == 0.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_that_announces_a_kill_leaves_the_grace_period(number):
    before = time.time()
    order = _stop_order(number, 30.0)
    assert before + 30.0 <= order.by <= time.time() + 30.0
    assert order.cause == EndCause(number.name)
    assert number.name in order.reason


def test_who_presses_ctrl_c_can_wait():
    assert _stop_order(signal.SIGINT, 30.0).by is None


def test_the_session_knows_the_command_it_was_begun_with(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/opt/venv/bin/raythena", "run", "my job.yaml", "--resume"])
    assert config_of(tmp_path, {}).command_line == "raythena run 'my job.yaml' --resume"
