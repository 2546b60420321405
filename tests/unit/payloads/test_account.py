"""A payload's account on disk: when it is written, what is in it, and what a disk that refuses costs."""

import json

import pytest

from raythena.domain.payload_account import FILE_NAME, PayloadAccount
from raythena.payloads.account import INTERVAL_S, AccountKeeper, read_report
from raythena.runtime.job_report import payload_accounts

REPORT = {"resource": {"transform": {"cpuTime": 5, "wallTime": 7, "cpuEfficiency": 0.7}}}


def test_news_are_written_at_once_when_idle_and_otherwise_now_and_then(tmp_path):
    keeper = AccountKeeper(tmp_path)
    assert keeper.is_due(0, 1, 0.0, idle=False)
    assert not keeper.is_due(0, 1, 1e9, idle=True), "nothing is new"
    assert not keeper.is_due(0, 2, INTERVAL_S - 1, idle=False)
    assert keeper.is_due(0, 2, INTERVAL_S - 1, idle=True)
    assert not keeper.is_due(0, 3, 2 * INTERVAL_S - 2, idle=False)
    assert keeper.is_due(0, 3, 2 * INTERVAL_S - 1, idle=False)


def test_a_start_is_written_at_once(tmp_path):
    keeper = AccountKeeper(tmp_path)
    assert keeper.is_due(1, 0, 0.0, idle=False)
    assert keeper.is_due(2, 0, 0.1, idle=False)
    assert not keeper.is_due(2, 0, 0.2, idle=False)


def test_what_is_written_is_what_the_job_report_finds(tmp_path):
    node = tmp_path / "session" / "node.1"
    node.mkdir(parents=True)
    account = PayloadAccount("pilot", 2, 3, {"waits": 10, "mean_wait_s": 0.1}, 1, {"cpuTime": 5})
    keeper = AccountKeeper(node)
    keeper.write(PayloadAccount("pilot"))
    keeper.write(account)
    assert payload_accounts(tmp_path) == [account]
    assert [path.name for path in node.iterdir()] == [FILE_NAME]


def test_reports_of_transforms_are_added_up(tmp_path):
    keeper = AccountKeeper(tmp_path)
    for report in (REPORT, None, [], {"resource": {"transform": 3}}, REPORT):
        keeper.take_report(report)
    assert (keeper.reports, keeper.resource) == (2, {"cpuTime": 10, "wallTime": 14})


def test_a_disk_that_refuses_costs_the_account_only(tmp_path, caplog):
    AccountKeeper(tmp_path / "nowhere").write(PayloadAccount("pilot"))
    assert "was not kept" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": 1, "transforms": "x"}', "[" * 100_000, "\xff"])
def test_an_account_that_cannot_be_read_is_left_out_of_the_job_report(tmp_path, caplog, content):
    for name, text in (("a", content), ("b", json.dumps(PayloadAccount("athenamp", 1).to_dict()))):
        (tmp_path / "session" / name).mkdir(parents=True)
        (tmp_path / "session" / name / FILE_NAME).write_text(text, encoding="latin-1")
    assert [account.kind for account in payload_accounts(tmp_path)] == ["athenamp"]
    assert "left out of the job report" in caplog.text


@pytest.mark.parametrize("content", [None, "", "{", "[" * 100_000])
def test_a_report_that_cannot_be_read_is_none(tmp_path, content):
    path = tmp_path / "jobReport.json"
    if content is not None:
        path.write_text(content)
    assert read_report(path) is None
    path.write_text(json.dumps(REPORT))
    assert read_report(path) == REPORT
