"""Events that were given up are tried again once their cause is mended, and their outputs merged again."""

import json

import pytest
import yaml

from job_kit import Command, ToyJob, failed_ids, make_job
from raythena.domain.errors import ExitCode
from raythena.domain.reopening import RetryRequest
from raythena.storage.ledger_view import LedgerView
from raythena.validation import validate

BROKEN = ["f1.evnt-3", "f1.evnt-30", "f2.evnt-7"]


def mended(toy: ToyJob, **options) -> ToyJob:
    """The job with a payload that fails less."""
    document = yaml.safe_load(toy.path.read_text())
    document["payload"]["options"] = {"cpu_s": 0.005, **options}
    toy.path.write_text(yaml.safe_dump(document))
    return ToyJob(toy.path)


def guids(toy: ToyJob) -> dict[str, str]:
    with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
        return {output.lfn: output.guid for output in ledger.outputs()}


def broken_job(cluster, tmp_path) -> ToyJob:
    """Three outputs, two of them without some events."""
    toy = make_job(tmp_path, [40, 20], 20, {"cpu_s": 0.005, "fail": BROKEN})
    assert cluster.run(toy, engine__max_attempts=1).exit_code is ExitCode.INCOMPLETE
    assert toy.contents() == toy.expected(without=set(BROKEN))
    return toy


def run_again(cluster, toy, request):
    session = cluster.session(toy, resume=True, engine__max_attempts=1)
    session.change(retry=request)
    with session:
        return session.end()


def test_failed_events_are_computed_and_their_outputs_are_whole(cluster, tmp_path):
    toy = broken_job(cluster, tmp_path)
    before, done = guids(toy), toy.committed()
    toy = mended(toy, fail=["f2.evnt-7"])
    assert run_again(cluster, toy, RetryRequest()).exit_code is ExitCode.INCOMPLETE
    assert toy.contents() == toy.expected(without={"f2.evnt-7"}), "all that was there is there, and what was mended too"
    after = guids(toy)
    changed = {lfn for lfn in before if before[lfn] != after[lfn]}
    assert changed == {"OUT.0001.bin", "OUT.0002.bin"}, "only files that won events are new"
    assert {index: toy.committed()[index] for index in done} == done, "nothing was computed twice"
    assert validate(toy.task).ok
    toy.assert_tidy()

    toy = mended(toy)
    assert run_again(cluster, toy, RetryRequest(ranges=frozenset({"f2.evnt-7"}))).exit_code is ExitCode.OK
    toy.assert_complete()
    assert validate(toy.task).ok
    assert set(failed_ids(toy)) == set(BROKEN), "the history stays"
    assert json.dumps(toy.report()["raythena"]["failed"]) == "[]"


def test_outputs_whose_parts_are_gone_are_computed_anew(cluster, tmp_path):
    toy = broken_job(cluster, tmp_path)
    for path in (toy.task / "staging").rglob("*.zip"):
        path.unlink()
    session = cluster.session(mended(toy), resume=True)
    session.change(retry=RetryRequest())
    with session:
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()


@pytest.mark.parametrize("moment", range(3))
def test_killed_at_any_moment_every_file_is_true(cluster, tmp_path, mark, moment):
    """The command is killed while events are tried again; the next one, told the same, completes what is left."""
    toy = mended(broken_job(cluster, tmp_path), cpu_s=0.3)
    options = ("--resume", "--retry-failed", "all", "--set", "engine.max_attempts=1")
    command = Command(mark, toy, *options)
    command.until_finished(57 + moment)
    command.process.kill()
    command.wait()
    validation = validate(toy.task, partial=True)
    assert not [finding for finding in validation.findings if finding.severity == "error"], validation.findings
    assert Command(mark, toy, *options).wait() == ExitCode.OK
    toy.assert_complete()
