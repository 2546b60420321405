"""Whole jobs whose outputs are merged by a transform: a PanDA job as Harvester gives it, and transforms that fail once."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from job_kit import ToyJob, eventually, make_job, raythena_processes
from raythena.domain.errors import ExitCode
from raythena.domain.panda import PandaJob, merge_spec
from raythena.testing.synthetic import expected_output
from raythena.validation import Standing, validate

STAND_INS = Path(__file__).parents[1] / "stand_ins" / "bin"
HPC_JOBS = Path(__file__).parents[1] / "fixtures" / "harvester" / "merge-HPCJobs.json"
TEMPLATE = "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0}"
EVENTS = {"cpu_s": 0.002}


def transform(directory: Path, **options: object) -> dict[str, object]:
    """The merger `transform` with the stand-in, found by a set-up script."""
    script = directory / "setup.sh"
    directory.mkdir(parents=True, exist_ok=True)
    script.write_text(f"export PATH={STAND_INS}:$PATH\n")
    own = {"transformation": "HITSMerge_tf.py", "parameters": TEMPLATE, "setup_script": str(script)}
    return {"kind": "transform", "options": {**own, **options}}


def once(directory: Path, then: str) -> str:
    """A wrapper that does `then` the first time and what it is asked to every other time."""
    wrapper = directory / "once.sh"
    wrapper.write_text(f'#!/bin/bash\nif mkdir "{directory}/once" 2>/dev/null; then {then}; fi\nexec "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def test_outputs_are_merged_by_the_transform_and_known_by_its_guid(cluster, tmp_path):
    toy = make_job(tmp_path, [40, 20], 20, EVENTS, merge=transform(tmp_path))
    assert cluster.run(toy).exit_code is ExitCode.OK
    toy.assert_complete()
    guids = [one["file_guid"] for file in toy.report()["files"]["output"] for one in file["subFiles"]]
    assert len(set(guids)) == 3
    assert validate(toy.task).standing is not Standing.WRONG
    assert len(list((toy.task / "logs").glob("*/merges/*.out.log"))) == 3


def test_a_transform_that_fails_is_run_again(cluster, tmp_path):
    """By another process, on another node if there is one; here both are this machine."""
    wrapper = once(tmp_path, "echo the geometry is not there >&2; exit 65")
    toy = make_job(tmp_path, [20], 20, EVENTS, merge=transform(tmp_path, wrapper=[wrapper]))
    with cluster.session(toy) as session:
        assert session.end().exit_code is ExitCode.OK
        assert "ended with exit code 65; the end of its output: the geometry is not there" in session.log()
    toy.assert_complete()


def test_a_transform_dies_with_the_process_that_merges(cluster, tmp_path):
    wrapper = once(tmp_path, 'exec -a "a transform that hangs" sleep 1000')
    toy = make_job(tmp_path, [20], 20, EVENTS, merge=transform(tmp_path, wrapper=[wrapper]))

    def hanging():
        return [process for process in raythena_processes(cluster.mark) if process.command.startswith("a transform that hangs")]

    with cluster.session(toy) as session:
        eventually(hanging, "the transform at work")
        session.one("merge").kill()
        eventually(lambda: not hanging(), "the transform dead")
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()


def test_a_job_of_harvester_is_merged_as_it_says(cluster, tmp_path):
    """Inputs, outputs and the transform come from the document; how the site sets a release up, from beside it."""
    (document,) = json.loads(HPC_JOBS.read_text()).values()
    for lfn in document["inFiles"].split(","):
        (tmp_path / lfn).write_bytes(b"x" * 2064)
    paths = ",".join(str(tmp_path / lfn) for lfn in document["inFiles"].split(","))
    document |= {"inFilePaths": paths, "checksum": "NULL"}
    (tmp_path / "HPCJobs.json").write_text(json.dumps({str(document["PandaID"]): document}))
    synthetic = "raythena.testing.synthetic"
    payload = {"python": f"{synthetic}:process", "setup": f"{synthetic}:setup", "options": EVENTS}
    wrapper = {"kind": "transform", "options": {"setup_script": transform(tmp_path)["options"]["setup_script"]}}
    (tmp_path / "payload.yaml").write_text(yaml.safe_dump({"payload": payload, "merge": wrapper}))
    (tmp_path / "scratch").mkdir()
    toy = HarvesterJob(tmp_path / "HPCJobs.json")
    told = merge_spec(PandaJob.model_validate(document))
    assert told is not None
    assert toy.job.merge.options == {**told.options, **wrapper["options"]}
    assert cluster.run(toy).exit_code is ExitCode.OK
    assert len(toy.contents()) == 2
    first = b"".join(expected_output(f"{lfn}-{n}", 64) for lfn in document["inFiles"].split(",")[:2] for n in range(1, 11))
    assert toy.contents()["HITS.30737678._000001.pool.root.1"] == first
    toy.assert_tidy()


class HarvesterJob(ToyJob):
    """A job file that is Harvester's, with the payload beside it."""

    def __post_init__(self) -> None:
        from raythena.gateways.file import load_job, load_payload

        payload, merge = load_payload(self.path.parent / "payload.yaml")
        object.__setattr__(self, "job", load_job(self.path, payload=payload, merge=merge))
