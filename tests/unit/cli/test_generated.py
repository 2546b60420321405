"""Jobs without input files, before they are started."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from raythena.cli.session import check_payload
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.report_document import ReportInput, build_report
from raythena.gateways.file import load_job

OUTPUTS = {"events_per_file": 5, "name": "out.{n}.txt"}


def job_with(tmp_path, payload):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({"name": "toy", "events": 10, "outputs": OUTPUTS, "payload": payload}))
    return load_job(path)


@pytest.mark.parametrize("kind", ["athenamp", "pilot"])
def test_a_payload_that_reads_files_refuses(tmp_path, kind, monkeypatch):
    job = job_with(tmp_path, {"kind": kind})
    monkeypatch.setattr("raythena.cli.session.payload_plugin", without_options)
    with pytest.raises(InvalidInput, match=f"job: events: payload '{kind}' computes events of input files only") as refusal:
        check_payload(job)
    assert "choose a payload that makes events" in refusal.value.hint


def without_options(kind):
    """The plug-in as it is, without a look at its options: those are not the matter here."""
    from dataclasses import replace

    from raythena.runtime.payload_interface import payload_plugin

    return replace(payload_plugin(kind), check_options=None)


def test_others_take_it(tmp_path):
    check_payload(job_with(tmp_path, {"process": ["cat"]}))
    check_payload(job_with(tmp_path, {"python": "toys:throw"}))


def test_the_job_report_names_no_input_file(tmp_path):
    job = job_with(tmp_path, {"process": ["cat"]})
    report = build_report(ReportInput(job, ExitCode.OK, "done", "", "2026-01-01T00:00:00", [], [], np.empty(0, dtype=np.int64)))
    assert report["files"]["input"] == []
    assert report["executor"][0]["exeConfig"]["inputs"] == []
    assert report["raythena"]["events"]["total"] == 10
