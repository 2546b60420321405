"""The account of a transform's runs."""

import asyncio
import json

from raythena.domain.payload_account import FILE_NAME
from raythena.payloads.athenamp.transform_account import TransformAccount
from raythena.payloads.latency import IdleClock, read_summary


def test_starts_waits_and_reports_are_written(tmp_path):
    waiting = IdleClock(0.0)
    waiting.given(4.0, None)
    account = TransformAccount(tmp_path, waiting)
    account.runs = 2
    run = tmp_path / "athenamp-1"
    run.mkdir()
    account.run_ended(run)
    (run / "jobReport.json").write_text(json.dumps({"resource": {"transform": {"cpuTime": 7, "wallTime": 8}}}))
    account.run_ended(run)

    async def scene():
        account.keep(0, 1.0, idle=False)
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(scene())
    early = json.loads((tmp_path / FILE_NAME).read_text())
    account.close()
    late = json.loads((tmp_path / FILE_NAME).read_text())
    assert early == late
    assert "athenamp" in late.values()
    assert read_summary(tmp_path).first_range_s == 4.0
