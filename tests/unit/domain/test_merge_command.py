"""The command of a merge transform, made from PanDA's template."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.container import Container, Engine
from raythena.domain.container_command import Place, launch
from raythena.domain.errors import InvalidInput
from raythena.domain.job import MergeSpec
from raythena.domain.merge_command import MergeTemplate, release_setup
from raythena.domain.panda import PandaJob, merge_spec

TEMPLATE = "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} --AMITag=s4162"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "merge"


def command(parameters=TEMPLATE, inputs=("a", "b"), output="HITS.1.pool.root", transformation="HITSMerge_tf.py"):
    return MergeTemplate(transformation, parameters).command(inputs, output)


def test_the_inputs_go_through_a_file_with_the_argument_s_name_in_it():
    made = command()
    assert made.argv == (
        "HITSMerge_tf.py",
        "@inputFor_HITS.1.pool.root.txt",
        "--outputHITS_MRGFile=HITS.1.pool.root",
        "--AMITag=s4162",
    )
    assert made.files == (("inputFor_HITS.1.pool.root.txt", "--inputHITSFile\na\nb\n"),)
    assert made.outputs == ("HITS.1.pool.root",)


def test_the_argument_may_stand_before_the_list():
    made = command("--inputHitsFile @inputFor_${OUTPUT0} --outputHitsFile ${OUTPUT0}")
    assert made.argv[1:] == ("--inputHitsFile", "@inputFor_HITS.1.pool.root.txt", "--outputHitsFile", "HITS.1.pool.root")
    assert made.files == (("inputFor_HITS.1.pool.root.txt", "a\nb\n"),)


def test_several_outputs_have_names_and_lists_of_their_own():
    made = command(
        "--inputHITSFile=@inputFor_${OUTPUT0} --inputLogsFile=@inputFor_${OUTPUT2} --outputHITS_MRGFile=${OUTPUT0} "
        "--outputHIST_MRGFile='${OUTPUT1}' --preExec 'x=\"${OUTPUT0}\"; y = 1'"
    )
    assert made.outputs == ("HITS.1.pool.root", "HITS.1.pool.root.output1", "HITS.1.pool.root.output2")
    assert [name for name, _ in made.files] == ["inputFor_HITS.1.pool.root.txt", "inputFor_HITS.1.pool.root.output2.txt"]
    assert made.argv[-3:] == ("--outputHIST_MRGFile=HITS.1.pool.root.output1", "--preExec", 'x="HITS.1.pool.root"; y = 1')


@given(st.integers(1, 3000))
def test_the_transform_sees_every_input_however_many(tmp_path_factory, count):
    made = command(inputs=[f"{number:06d}.HITS.1" for number in range(count)])
    directory = tmp_path_factory.mktemp("merge")
    for name, content in made.files:
        (directory / name).write_text(content)
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("--inputHITSFile", nargs="+")
    parser.add_argument("--outputHITS_MRGFile", nargs="+")
    parser.add_argument("--AMITag")
    seen = parser.parse_args([word.replace("@", f"@{directory}/") for word in made.argv[1:]])
    assert len(seen.inputHITSFile) == count
    assert seen.outputHITS_MRGFile == ["HITS.1.pool.root"]
    assert sum(map(len, made.argv)) < 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("", "says nowhere what to merge"),
        ("--outputHITS_MRGFile=${OUTPUT0}", "says nowhere what to merge"),
        ("--inputHITSFile=@inputFor_${OUTPUT0}", "says nowhere what to write"),
        ("--inputHITSFile=a,@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0}", "has the list of inputs inside"),
        ("--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile='${OUTPUT0}", "the quote"),
        ("--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0} x", "'x' (word 3"),
        ("@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0}", "belongs to no argument"),
    ],
)
def test_a_template_that_cannot_work_is_refused(parameters, said):
    with pytest.raises(InvalidInput, match=r"job: esmergeSpec\.jobParameters") as problem:
        command(parameters)
    assert said in str(problem.value)


def test_other_programs_have_other_grammars():
    made = command("@inputFor_${OUTPUT0} -o ${OUTPUT0}", transformation="/opt/my_merge.sh")
    assert made.argv == ("/opt/my_merge.sh", "@inputFor_HITS.1.pool.root.txt", "-o", "HITS.1.pool.root")


def panda_job(**spec):
    return PandaJob.model_validate(
        {"PandaID": 1, "homepackage": "Athena/23.0.53", "cmtConfig": "x86_64-centos7-gcc11-opt", "esmergeSpec": spec or None}
    )


def test_a_panda_job_says_how_it_is_merged():
    spec = merge_spec(panda_job(transPath="HITSMerge_tf.py", jobParameters=TEMPLATE))
    assert spec is not None
    assert spec.kind == "transform"
    assert spec.options == {
        "transformation": "HITSMerge_tf.py",
        "parameters": TEMPLATE,
        "release": {"home_package": "Athena/23.0.53", "platform": "x86_64-centos7-gcc11-opt"},
    }
    job = panda_job(transPath="x", jobParameters="").model_copy(update={"container_name": "/images/athena.sif"})
    told = merge_spec(job)
    assert told is not None
    assert told.options["image"] == "/images/athena.sif"
    assert merge_spec(panda_job()) is None
    assert merge_spec(panda_job(transPath="")) is None


def test_what_is_given_beside_the_job_wins():
    job = panda_job(transPath="HITSMerge_tf.py", jobParameters=TEMPLATE)
    assert merge_spec(job, MergeSpec("root")) == MergeSpec("root")
    given = merge_spec(job, MergeSpec("transform", {"parameters": "--x", "time_limit_s": 60}))
    assert given is not None
    assert (given.options["transformation"], given.options["parameters"]) == ("HITSMerge_tf.py", "--x")
    assert given.options["time_limit_s"] == 60


def test_a_release_is_set_up_as_the_pilot_does():
    assert release_setup("Athena/23.0.53", "x86_64-centos7-gcc11-opt", "/cvmfs/alrb") == (
        "export ATLAS_LOCAL_ROOT_BASE=/cvmfs/alrb",
        'source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet || exit $?',
        'source "$AtlasSetup/scripts/asetup.sh" Athena,23.0.53,notest --platform x86_64-centos7-gcc11-opt || exit $?',
    )
    assert release_setup("Athena/23.0.53", "", "/a b")[0] == "export ATLAS_LOCAL_ROOT_BASE='/a b'"
    assert release_setup("Athena/23.0.53", "", "/a")[2].endswith("Athena,23.0.53,notest || exit $?")
    assert release_setup("", "x", "/a") == release_setup("Athena", "x", "/a") == release_setup("Athena/", "x", "/a") == ()


@pytest.mark.parametrize("engine", ["alrb", "apptainer"])
def test_the_merge_in_a_container_is_exactly_this(engine):
    setup = release_setup("Athena/23.0.53", "x86_64-centos7-gcc11-opt", "/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase")
    container = Container(Engine(engine), "x86_64-centos7", options=("--no-home",), binds=("/lustre",), setup=setup)
    prepared = launch(container, command().argv, Place("/scratch/work"), {"OMP_NUM_THREADS": "1"}, {})
    told = "".join([f"{prepared.argv}\n", *(f"---- {name}\n{content}" for name, content in prepared.files)])
    assert told == (FIXTURES / f"{engine}.txt").read_text()
