"""Metrics: what is promised is there, read back by the library's own parser; the dashboard and the page name nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from page_kit import HOSTILE, PROGRESS, task_in, write_status
from prometheus_client.parser import text_string_to_metric_families

from raythena.domain.core_time import CATEGORIES
from raythena.domain.errors import InvalidInput
from raythena.monitor.job_metrics import exposition
from raythena.monitor.metrics_server import metrics_application, token_in

DOCS = Path(__file__).parents[3] / "docs"
NOW = 4e9
TOKEN = "correct-horse-battery"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
ROW = re.compile(r"^\| `(raythena_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def samples_of(task, now=NOW):
    text = exposition(task, now).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples, name, **labels):
    (found,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found


@pytest.fixture
def told(tmp_path):
    """All the metrics there can be."""
    task = task_in(tmp_path)
    running = samples_of(task)
    write_status(task, phase="ended", exit_code=4)
    return running + [sample for sample in samples_of(task) if sample.name == "raythena_exit_code"]


def test_the_documented_metrics_are_those_there_are(told):
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in ROW.findall((DOCS / "metrics.md").read_text())}
    assert {sample.name: set(sample.labels) for sample in told} == documented


def test_types_are_as_documented(tmp_path):
    families = text_string_to_metric_families(exposition(task_in(tmp_path), NOW).decode())
    types = {family.samples[0].name: family.type for family in families}
    documented = {name: kind for name, kind, _ in ROW.findall((DOCS / "metrics.md").read_text())}
    assert types == {name: kind for name, kind in documented.items() if name in types}
    assert set(documented) - set(types) == {"raythena_exit_code"}
    assert {name for name, kind in types.items() if kind == "counter"} == {name for name in types if name.endswith("_total")}


def test_every_metric_of_the_dashboard_exists_and_none_is_left_out(told):
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    shown = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"raythena_\w+", target["expr"])
    }
    assert shown == {sample.name for sample in told}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_labels_the_dashboard_asks_for_have_such_values(told):
    text = (DOCS / "grafana-dashboard.json").read_text()
    states = {sample.labels["state"] for sample in told if sample.name == "raythena_events_in_state"}
    (asked,) = re.findall(r'state=~\\"([\w|]+)\\"', text)
    assert set(asked.split("|")) < states


def test_figures_are_those_of_the_status(told):
    assert value(told, "raythena_events") == PROGRESS.events
    assert value(told, "raythena_events_in_state", state="merged") == PROGRESS.merged
    assert value(told, "raythena_remaining_seconds") == PROGRESS.remaining_s
    assert value(told, "raythena_attempts_failed_total") == PROGRESS.attempts_failed
    assert value(told, "raythena_phase", phase="running") == 1
    assert value(told, "raythena_phase", phase="ended") == 0
    assert value(told, "raythena_nodes", state="up") == 1
    assert value(told, "raythena_cores_busy") == 2
    assert value(told, "raythena_up") == 1
    assert value(told, "raythena_exit_code") == 4


def test_core_time_is_told_by_category_and_adds_up(told):
    shares = {sample.labels["category"]: sample.value for sample in told if sample.name == "raythena_core_time_seconds"}
    assert set(shares) == set(map(str, CATEGORIES))
    assert sum(shares.values()) == pytest.approx(value(told, "raythena_core_time_allocated_seconds"))


def test_what_is_not_known_is_left_out(tmp_path):
    task = task_in(tmp_path)
    write_status(task, remaining_s=None)
    names = {sample.name for sample in samples_of(task)}
    assert "raythena_remaining_seconds" not in names
    assert "raythena_exit_code" not in names
    task.status.unlink()
    assert "raythena_up" not in {sample.name for sample in samples_of(task)}


def test_a_silent_coordinator_is_not_up(tmp_path):
    assert value(samples_of(task_in(tmp_path), NOW + 60), "raythena_up") == 0


def test_a_large_job_has_as_many_series_as_a_small_one(tmp_path):
    task = task_in(tmp_path)
    small = len(samples_of(task))
    node = PROGRESS.to_dict()["nodes"][0]
    write_status(task, nodes=[{**node, "name": f"n{number}"} for number in range(2000)], events=10**7)
    assert len(samples_of(task)) == small


def test_hostile_names_are_labels_and_nothing_else(told):
    (name,) = [sample.labels["job"] for sample in told if sample.name == "raythena_job_info"]
    assert name == HOSTILE.replace("\u202e", "[U+202E]").replace("\x1b", "[U+001B]")


def test_the_ledger_is_not_looked_at(tmp_path):
    task = task_in(tmp_path)
    task.ledger.write_bytes(b"no ledger")
    assert value(samples_of(task), "raythena_events") == 12


def asked(task, *headers):
    """What is answered to each of these headers: status, type and text."""

    async def ask():
        async with TestClient(TestServer(metrics_application(task, TOKEN))) as client:
            answers = [await client.get("/metrics", headers=one) for one in headers]
            return [(answer.status, answer.content_type, await answer.text()) for answer in answers]

    return asyncio.run(ask())


def test_only_holders_of_the_token_are_answered(tmp_path):
    *refused, answered = asked(task_in(tmp_path), {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, RIGHT)
    assert [status for status, _, _ in refused] == [401] * 3
    assert not [text for _, _, text in refused if "raythena_" in text]
    assert answered[:2] == (200, "text/plain")
    assert "raythena_events 12.0" in answered[2]


def test_a_status_that_cannot_be_read_is_no_crash(tmp_path):
    task = task_in(tmp_path)
    task.status.write_text("{")
    ((status, _, text),) = asked(task, RIGHT)
    assert (status, "not JSON" in text) == (503, True)


def test_a_token_is_made_for_its_owner_and_found_again(tmp_path):
    path = tmp_path / "metrics.token"
    token = token_in(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_in(path) == token
    assert len(token) >= 32


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [("x" * 32, 0o644, "open to others"), ("short", 0o600, "no token"), ("\xe9", 0o600, "cannot be read")],
)
def test_a_token_file_that_will_not_do_is_refused(tmp_path, content, mode, problem):
    path = tmp_path / "metrics.token"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(InvalidInput, match=problem):
        token_in(path)
