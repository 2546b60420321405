"""Commands in containers: what exactly is started."""

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.domain.container import Container, Engine, launch, parse_container, refuse_isolation
from raythena.domain.errors import InvalidInput

COMMAND = ["Sim_tf.py", "--preExec", 'a;b "c"', "--inputEVNTFile=/in/EVNT.1.root"]
QUOTED = "exec Sim_tf.py --preExec 'a;b \"c\"' --inputEVNTFile=/in/EVNT.1.root\n"


def found(options, command=COMMAND, variables=None):
    return launch(parse_container(options, "job", "container"), command, "/node/n 1", variables or {"ATHENA_PROC_NUMBER": "8"})


def test_without_surroundings_it_is_the_command_itself():
    assert found({}).argv == tuple(COMMAND)
    assert found(None).files == ()


def test_a_release_without_a_container():
    plan = found({"setup": ["source $AtlasSetup/scripts/asetup.sh Athena,23.0.53,notest --makeflags='$MAKEFLAGS' || exit 1"]})
    assert plan.argv == ("/bin/bash", "/node/n 1/raythena_payload.sh")
    assert dict(plan.files)["raythena_payload.sh"] == (
        "#!/bin/bash\n"
        "cd '/node/n 1' || exit 125\n"
        "export ATHENA_PROC_NUMBER=8\n"
        "source $AtlasSetup/scripts/asetup.sh Athena,23.0.53,notest --makeflags='$MAKEFLAGS' || exit 1\n" + QUOTED
    )


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_apptainer_and_singularity(engine):
    plan = found({"engine": engine, "image": "/images/el9.sif", "options": ["--cleanenv"], "binds": ["/cvmfs", "/a:/b:ro"]})
    words = f"{engine} exec --pwd DIR --bind DIR --bind /cvmfs --bind /a:/b:ro --cleanenv /images/el9.sif /bin/bash"
    assert list(plan.argv) == [
        *(word.replace("DIR", "/node/n 1") for word in words.split()),
        "/node/n 1/raythena_payload.sh",
    ]
    assert dict(plan.files)["raythena_payload.sh"].endswith("export ATHENA_PROC_NUMBER=8\n" + QUOTED)


def test_shifter_with_an_image_and_with_that_of_the_batch_job():
    plan = found({"engine": "shifter", "image": "docker:atlas/el9:1", "options": ["--module=cvmfs"], "binds": ["/scratch"]})
    assert plan.argv == (
        "shifter",
        "--clearenv",
        "--image=docker:atlas/el9:1",
        "--workdir=/node/n 1",
        "--volume=/scratch:/scratch",
        "--module=cvmfs",
        "/bin/bash",
        "/node/n 1/raythena_payload.sh",
    )
    assert found({"engine": "shifter"}).argv[:3] == ("shifter", "--clearenv", "--workdir=/node/n 1")


def test_alrb_chooses_the_engine():
    plan = found({"engine": "alrb", "image": "/cvmfs/images/x86_64-el9", "options": ["--cleanenv"], "binds": ["/data"]})
    assert plan.argv == ("/bin/bash", "/node/n 1/raythena_alrb.sh")
    assert dict(plan.files)["raythena_alrb.sh"] == (
        "#!/bin/bash\n"
        "cd '/node/n 1' || exit 125\n"
        "export ATLAS_LOCAL_ROOT_BASE=/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase\n"
        "export thePlatform=/cvmfs/images/x86_64-el9\n"
        "source /cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase/user/atlasLocalSetup.sh"
        ' -c "$thePlatform" -s none'
        " -r '/bin/bash '\"'\"'/node/n 1'\"'\"'/raythena_payload.sh'"
        " -e ''\"'\"'--bind=/node/n 1'\"'\"' --bind=/data --cleanenv'\n"
    )


def test_alrb_with_shifter_and_without_default_mounts():
    plan = found(
        {
            "engine": "alrb",
            "image": "docker:atlas/el9:1",
            "alrb_engine": "shifter",
            "default_mounts": False,
            "alrb_base": "/opt/alrb",
            "options": ["--clearenv"],
            "setup": ["if [[ -f /alrb/postATLASReleaseSetup.sh ]]; then source /alrb/postATLASReleaseSetup.sh; fi"],
        }
    )
    line = dict(plan.files)["raythena_alrb.sh"].splitlines()[-1]
    assert line.startswith('source /opt/alrb/user/atlasLocalSetup.sh --swtype shifter -c "$thePlatform" -d -s none -r ')
    assert line.endswith(" -e --clearenv")
    assert "postATLASReleaseSetup.sh; fi\nexec Sim_tf.py" in dict(plan.files)["raythena_payload.sh"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12), max_size=4),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12),
)
def test_bash_hands_every_argument_and_variable_on_untouched(tmp_path_factory, words, value):
    directory = tmp_path_factory.mktemp("a b'c")
    show = ["/bin/bash", "-c", 'printf "%s\\0" "$VALUE" "$@"', "bash", *words]
    plan = launch(Container(setup=("true",)), show, str(directory), {"VALUE": value})
    for name, content in plan.files:
        (directory / name).write_bytes(content.encode())
    shown = subprocess.run(plan.argv, capture_output=True, check=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}).stdout
    assert shown.decode().split("\0")[:-1] == [value, *words]


def test_a_directory_that_is_not_there_inside_is_an_exit_status(tmp_path):
    plan = launch(Container(setup=("true",)), ["true"], str(tmp_path), {})
    (tmp_path / "script").write_text(dict(plan.files)["raythena_payload.sh"].replace(str(tmp_path), "/no/such/place"))
    assert subprocess.run(["/bin/bash", tmp_path / "script"], stderr=subprocess.DEVNULL, check=False).returncode == 125


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ("apptainer", "container"),
        ({"engine": "docker"}, "container.engine"),
        ({"engine": "apptainer"}, "container.image"),
        ({"engine": "alrb", "image": ""}, "container.image"),
        ({"engine": "shifter", "image": 7}, "container.image"),
        ({"image": "a\nb"}, "container.image"),
        ({"options": "--cleanenv"}, "container.options"),
        ({"setup": [1]}, "container.setup"),
        ({"default_mounts": "no"}, "container.default_mounts"),
        ({"volumes": []}, "container.volumes"),
    ],
)
def test_options_that_cannot_work_are_refused(options, field):
    with pytest.raises(InvalidInput) as refusal:
        parse_container(options, "job.yaml", "container")
    assert refusal.value.field == field


def test_every_engine_has_a_way_to_start():
    for engine in Engine:
        assert launch(Container(engine, "image", setup=("true",)), ["true"], "/d", {}).argv


def test_alrb_with_shifter_binds_too():
    plan = found({"engine": "alrb", "image": "i", "alrb_engine": "shifter", "binds": ["/data", "/a:/b"]})
    (script,) = [content for name, content in plan.files if "atlasLocalSetup" in content]
    assert "--volume=/data:/data --volume=/a:/b" in script


@pytest.mark.parametrize("option", ["-C", "--containall", "-c", "--contain", "--ipc", "-i", "-eC", "--ipc=yes"])
def test_a_container_that_hides_the_channel_is_refused(option):
    container = parse_container({"engine": "apptainer", "image": "i", "options": ["--nv", option]}, "job", "container")
    with pytest.raises(InvalidInput) as refusal:
        refuse_isolation(container, "job", "container")
    assert refusal.value.field == "container.options[1]"


@pytest.mark.parametrize("options", [["--cleanenv"], ["-B/cvmfs"], ["-B", "/cache:/c"], ["-e"], ["--pid"]])
def test_other_options_are_the_users(options):
    refuse_isolation(Container(Engine.APPTAINER, "i", tuple(options)), "job", "container")
