"""Waiting times of nodes in `raythena report`."""

import json

from raythena.cli.waiting import in_one_line, node_latencies
from raythena.payloads.latency import LatencySummary


def leave(logs, session, node, **figures):
    place = logs / session / node
    place.mkdir(parents=True)
    LatencySummary(**figures).write(place)


def test_all_nodes_in_one_line(tmp_path):
    leave(tmp_path, "s1", "a.1", first_range_s=2.0, waits=30, mean_wait_s=0.001, longest_wait_s=0.004)
    leave(tmp_path, "s1", "b.1", first_range_s=90.26, waits=10, mean_wait_s=0.003, longest_wait_s=0.025)
    leave(tmp_path, "s2", "a.1")
    (tmp_path / "s2" / "b.1").mkdir()
    (tmp_path / "s2" / "b.1" / "latency.json").write_text("{")
    latencies = node_latencies(tmp_path)
    assert list(latencies) == ["s1/a.1", "s1/b.1", "s2/a.1"]
    line = in_one_line(latencies)
    assert line == "first range 90.3 s after the start at the latest; 1.5 ms between two events, 25.0 ms at worst (node b.1)"
    assert in_one_line({}) == in_one_line({"x": LatencySummary()}) == ""


def test_the_report_shows_it(run, computed):
    leave(computed.logs, "s1", "a.1", first_range_s=2.0, waits=30, mean_wait_s=0.001, longest_wait_s=0.004)
    assert "waiting  first range 2.0 s" in run("report", computed.root).out
    document = json.loads(run("report", computed.root, "--json").out)
    assert document["waiting"]["s1/a.1"]["mean_wait_s"] == 0.001


def test_a_report_without_any_says_nothing_of_it(run, computed):
    assert "waiting" not in run("report", computed.root).out
