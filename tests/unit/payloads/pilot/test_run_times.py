"""Where the time of a node goes."""

from raythena.payloads.pilot.run_times import RunTimes, summary


def test_no_time_is_negative_though_clocks_differ():
    run = RunTimes(100.0, job_asked_at=99.9, first_ranges_at=99.99, final_update_at=119.0, ended_at=119.5)
    run.event("worker_0", 99.0, 120.0)
    figures = run.figures()
    assert min(value for value in figures.values() if value is not None) == 0.0
    assert summary([run]).first_range_s == 0.0
    assert summary([run]).exit_s == 0.0
