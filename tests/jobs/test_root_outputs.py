"""Whole jobs whose payload writes ROOT files that cannot be merged, or not all of them."""

from __future__ import annotations

from pathlib import Path

import awkward_payload
import uproot

from job_kit import ToyJob, make_job
from raythena.domain.errors import ExitCode
from raythena.validation import Standing, validate

BY_ROOT = Path(__file__).parents[1] / "fixtures" / "root" / "written_by_root"


def job(directory: Path, events: int, **options: object) -> ToyJob:
    here = str(Path(awkward_payload.__file__).parent)
    python = {"python": "awkward_payload:process", "setup": "awkward_payload:setup", "options": options, "path": [here]}
    return make_job(directory, [events], events, payload=python, merge="root")


def test_events_without_an_entry_or_with_two_are_charged_and_the_rest_is_merged(cluster, tmp_path):
    toy = job(tmp_path, 30, entries={"7": 0, "23": 2})
    assert cluster.run(toy).exit_code is ExitCode.INCOMPLETE
    failed = {entry["event"]: (entry["kind"], entry["message"]) for entry in toy.report()["raythena"]["failed"]}
    assert failed == {
        number: ("bad-output", f"tree 'HITS' has {found} entries, where one event has 1") for number, found in ((7, 0), (23, 2))
    }
    with uproot.open(toy.task / "outputs" / "OUT.0001.bin") as file:
        assert file["HITS"]["EventNumber"].array().tolist() == [n for n in range(1, 31) if n not in (7, 23)]
        assert file["energy"].values().sum() == 28
    validation = validate(toy.task)
    assert (validation.standing, validation.proven, validation.failed) == (Standing.PROVEN, 28, 2)


def test_what_cannot_be_merged_ends_the_job_at_its_first_events(cluster, tmp_path):
    toy = job(tmp_path, 3000, copy=str(BY_ROOT / "vector.root"))
    result = cluster.run(toy)
    assert result.exit_code is ExitCode.MERGE
    assert "branch 'vec' of tree 'reco/HITS', of type std::vector<float>, cannot be merged" in result.reason
    assert "`hadd`" in result.reason
    assert toy.summary().events < 3000


def test_a_payload_of_which_no_output_is_any_good_is_given_up(cluster, tmp_path):
    toy = job(tmp_path, 3000, entries={str(number): 2 for number in range(1, 3001)})
    result = cluster.run(toy)
    assert result.exit_code is ExitCode.MERGE
    assert "none of 5 outputs can be merged: " in result.reason
    assert "tree 'HITS' has 2 entries, where one event has 1" in result.reason
