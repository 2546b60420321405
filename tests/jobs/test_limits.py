"""What ends a job early by itself: the end of the allocation, and a release that is broken everywhere."""

import time

from job_kit import Command, make_job
from raythena.domain.errors import ExitCode
from raythena.domain.ranges import RangeLayout

WALLTIME_S = 40.0
MARGIN_S = 32.0
"""Most of the walltime, so that a machine however slow is over in time; nothing is begun after the rest."""
LEISURELY = """
import time
from pathlib import Path
from raythena.testing.synthetic import process as compute, setup

def process(event_range, context):
    until = time.monotonic() + 0.2
    while time.monotonic() < until and not Path({hurry!r}).exists():
        time.sleep(0.02)
    content = compute(event_range, context)
    with Path({done!r}).open("a") as done:
        done.write(event_range.range_id + "\\n")
    return content
"""


def test_a_job_is_over_before_its_walltime_and_resumed_later(cluster, tmp_path):
    """Nothing is begun that would not finish, so everything that was computed is stored."""
    hurry, done = tmp_path / "hurry", tmp_path / "done"
    (tmp_path / "leisurely.py").write_text(LEISURELY.format(hurry=str(hurry), done=str(done)))
    payload = {"python": "leisurely:process", "setup": "leisurely:setup", "path": ["."], "options": {"as_file": False}}
    toy = make_job(tmp_path, [300, 100], 100, payload=payload)
    done.touch()
    with cluster.session(toy, engine__walltime_s=WALLTIME_S, engine__margin_s=MARGIN_S) as session:
        result = session.end()
        assert time.time() < session.config.ends_at
    assert result.exit_code is ExitCode.STOPPED
    ending = toy.report()["raythena"]
    assert ending["error"]["code"] == 1213
    assert ending["ending"]["events_cut_off"] == 0
    layout = RangeLayout(toy.job.inputs)
    stored = toy.committed()
    assert len(stored) < 400
    assert sorted(layout.range_id(index) for index in stored) == sorted(done.read_text().split())

    hurry.touch()
    assert cluster.run(toy, resume=True).exit_code is ExitCode.OK
    toy.assert_complete()
    assert len(done.read_text().split()) == 400


def test_a_release_that_is_broken_everywhere_stops_the_job(tmp_path, mark):
    """With the reason wherever somebody may look for it."""
    toy = make_job(tmp_path, [300], 100, {"fail": list(range(1, 301)), "as_file": False})
    command = Command(mark, toy)
    assert command.wait() == ExitCode.ABORTED, command.errors
    words = "the same error"
    *_, last = command.lines()
    assert (last["result"], last["exit_code"]) == ("aborted", ExitCode.ABORTED)
    (log,) = (toy.task / "logs").glob("*/coordinator.log")
    report = toy.report()
    for told in (last["reason"], log.read_text(), report["exitMsg"]):
        assert words in told
        assert "told to fail" in told
    assert words in report["raythena"]["error"]["what"]
    assert report["exitCode"] == ExitCode.ABORTED
    assert toy.committed() == {}
    assert len(toy.summary().sessions) == 1
