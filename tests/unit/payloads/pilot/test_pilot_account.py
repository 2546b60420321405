"""The account of a node's pilots."""

import asyncio
import json

from raythena.domain.payload_account import FILE_NAME
from raythena.payloads.pilot.panda_server import HoldTimes, PandaServer
from raythena.payloads.pilot.pilot_account import PilotAccount
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.running import RunningPilot


def a_pilot(directory, number, **dirs):
    panda = PandaServer({"PandaID": 4711}, RangeQueue(1), 1, HoldTimes())
    pilot = RunningPilot(number, directory / f"run-{number}", panda, log_dir=directory, on_call=print, on_end=print)
    (pilot.directory / "PanDA_Pilot-4711").mkdir(parents=True)
    pilot.log_dir.mkdir()
    return pilot


def written(directory):
    return json.loads((directory / FILE_NAME).read_text())


def test_starts_and_transforms_are_counted_while_a_pilot_runs_and_after(tmp_path):
    account = PilotAccount(tmp_path, 1)

    async def scene():
        pilot = a_pilot(tmp_path, 1)
        account.starts = 1
        await account.keep(pilot, 0, 1.0, idle=False)
        before = written(tmp_path)
        (pilot.directory / "PanDA_Pilot-4711" / "payload.stderr").write_text("hello")
        await account.keep(pilot, 0, 2.0, idle=False)
        during = written(tmp_path)
        await account.pilot_ended(pilot)
        account.close()
        return before, during, written(tmp_path), pilot

    before, during, after, pilot = asyncio.run(scene())
    assert before != during
    assert during["transforms"] == after["transforms"] == 1
    assert not pilot.directory.exists()
    assert (pilot.log_dir / "payload.stderr").read_text() == "hello"
    assert (tmp_path / "latency.json").exists()
