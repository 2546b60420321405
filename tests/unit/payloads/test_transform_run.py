"""One life of the transform, as an object."""

import asyncio
import sys
from types import SimpleNamespace

import pytest
from athenamp_kit import STAND_INS

from raythena.domain.errors import PayloadError
from raythena.payloads.athenamp.channel import ChannelQueue
from raythena.payloads.athenamp.command import read_options, transform_command
from raythena.payloads.athenamp.transform_run import TransformRun, import_yampl
from raythena.runtime.payload_interface import PayloadContext
from raythena.runtime.process_guard import ProcessGuard

OPTIONS = {
    "command": ["sh", "-c", "echo said; pwd; echo $PILOT_EVENTRANGECHANNEL {channel}"],
    "yampl_path": str(STAND_INS / "python"),
}


def context(tmp_path):
    return PayloadContext("n", 2, tmp_path, OPTIONS, "job", tmp_path)


def test_it_runs_in_a_directory_of_its_own_and_knows_its_channel(tmp_path):
    options = read_options(OPTIONS, "job")

    async def scene():
        guard, ended = ProcessGuard(), asyncio.get_running_loop().create_future()
        run = TransformRun(2, context(tmp_path), guard)
        run.open(import_yampl(options), ChannelQueue(), lambda news: None)
        await run.launch(options, transform_command(options, context(tmp_path), 1), ended.set_result)
        run.status = await asyncio.wait_for(ended, 60)
        run.channel.stop()
        await guard.stop()
        return run

    run = asyncio.run(scene())
    said, place, channels = (tmp_path / "athenamp_2.log").read_text().splitlines()
    assert (said, place) == ("said", str(tmp_path / "athenamp-2"))
    own, filled = channels.split()
    assert own == filled
    assert own.startswith("raythena-")
    assert run.exit_summary() == f"exited with status 0; last lines of its log: said | {place} | {channels}"


def test_trouble_that_is_known_is_told_instead_of_the_log(tmp_path):
    run = TransformRun(1, context(tmp_path), SimpleNamespace())
    run.trouble = "its channel broke"
    assert run.exit_summary() == "its channel broke"


def test_a_transform_is_killed_once_its_process_is_known_and_never_after_its_end(tmp_path):
    killed = []
    run = TransformRun(1, context(tmp_path), SimpleNamespace(kill=killed.append))
    run.kill()
    run.pid = 7
    run.kill()
    run.status = 0
    run.kill()
    assert (killed, run.ending) == ([7], True)


def test_whatever_the_socket_raises_is_told(tmp_path):
    def refuse(name, kind):
        raise RuntimeError("no shared memory")

    run = TransformRun(1, context(tmp_path), SimpleNamespace())
    with pytest.raises(PayloadError, match="no channel to AthenaMP: RuntimeError: no shared memory"):
        run.open(SimpleNamespace(ServerSocket=refuse), ChannelQueue(), print)


def test_a_missing_yampl_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "yampl", None)
    with pytest.raises(PayloadError, match="build python-yampl"):
        import_yampl(read_options({"command": ["t"]}, "job"))
