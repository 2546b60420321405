"""Commands in containers: what exactly is started, for every engine."""

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.domain.container import Container, Engine, parse_container
from raythena.domain.container_command import Place, engine_program, engine_words, launch
from raythena.domain.errors import InvalidInput

COMMAND = ["Sim_tf.py", "--preExec", 'a;b "c"', "--inputEVNTFile=/in/EVNT.1.root"]
QUOTED = "exec Sim_tf.py --preExec 'a;b \"c\"' --inputEVNTFile=/in/EVNT.1.root\n"
BASIC = {"USER": "me", "HOME": "/home/me", "PATH": "/usr/bin"}
OURS = {**BASIC, "LD_LIBRARY_PATH": "/opt", "SITE": "here", "RAY_AUTH_TOKEN_PATH": "/t"}
INSIDE = (
    "#!/bin/bash\n"
    "cd '/node/n 1' || exit 125\n"
    ": > '/node/n 1/raythena_payload.entered' || exit 125\n"
    'export PATH HOME="${HOME:-/node/n 1}"\n'
    "export ATHENA_PROC_NUMBER=8\n"
    "export USER=me\n" + QUOTED
)
SCRIPT = ["/bin/bash", "/node/n 1/raythena_payload.sh"]


def found(options, place=None, ours=OURS):
    container = parse_container(options, "job", "container")
    return launch(container, COMMAND, place or Place("/node/n 1"), {"ATHENA_PROC_NUMBER": "8"}, ours)


def words(text):
    """A golden command line: `@` stands for the directory, which has a space in it."""
    return [word.replace("@", "/node/n 1") for word in text.split()]


def test_without_surroundings_it_is_the_command_itself():
    plan = found({})
    assert (plan.argv, plan.files) == (tuple(COMMAND), ())
    assert plan.environment == {**OURS, "ATHENA_PROC_NUMBER": "8"}
    assert found(None).argv == tuple(COMMAND)


def test_a_release_without_a_container():
    plan = found({"setup": ["source $AtlasSetup/scripts/asetup.sh Athena,23.0.53,notest --makeflags='$MAKEFLAGS' || exit 1"]})
    assert list(plan.argv) == SCRIPT
    assert plan.environment["LD_LIBRARY_PATH"] == "/opt"
    assert dict(plan.files)["raythena_payload.sh"] == (
        "#!/bin/bash\n"
        "cd '/node/n 1' || exit 125\n"
        ": > '/node/n 1/raythena_payload.entered' || exit 125\n"
        "export ATHENA_PROC_NUMBER=8\n"
        "source $AtlasSetup/scripts/asetup.sh Athena,23.0.53,notest --makeflags='$MAKEFLAGS' || exit 1\n" + QUOTED
    )


def test_without_a_container_a_list_of_variables_closes_the_door_too():
    plan = found({"inherit": ["SITE"]})
    assert plan.environment == {**BASIC, "SITE": "here", "ATHENA_PROC_NUMBER": "8"}


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_apptainer_and_singularity(engine):
    plan = found({"engine": engine, "image": "/images/el9.sif", "options": ["--nv"], "binds": ["/cvmfs", "/a:/b:ro"]})
    line = f"{engine} exec --cleanenv --pwd @ --bind /cvmfs --bind /a:/b:ro --bind @ --nv /images/el9.sif"
    assert list(plan.argv) == words(line) + SCRIPT
    assert dict(plan.files) == {"raythena_payload.sh": INSIDE}
    assert plan.environment["LD_LIBRARY_PATH"] == "/opt"


def test_shifter_with_an_image_and_with_that_of_the_batch_job():
    plan = found({"engine": "shifter", "image": "docker:atlas/el9:1", "options": ["--module=cvmfs"], "binds": ["/scratch"]})
    line = "shifter --clearenv --image=docker:atlas/el9:1 --workdir=@ --volume=/scratch:/scratch --volume=@:@ --module=cvmfs"
    assert list(plan.argv) == words(line) + SCRIPT
    assert dict(plan.files) == {"raythena_payload.sh": INSIDE}
    assert found({"engine": "shifter"}).argv[:3] == ("shifter", "--clearenv", "--workdir=/node/n 1")


def test_podman_hpc():
    plan = found({"engine": "podman-hpc", "image": "atlas/el9:1", "options": ["--gpu"], "binds": ["/cvmfs", "/a:/b:ro"]})
    line = "podman-hpc run --rm --workdir=@ --volume=/cvmfs:/cvmfs --volume=/a:/b:ro --volume=@:@ --gpu atlas/el9:1"
    assert list(plan.argv) == words(line) + SCRIPT
    assert dict(plan.files) == {"raythena_payload.sh": INSIDE}


def test_bubblewrap():
    options = {"engine": "bubblewrap", "image": "/images/el9/", "options": ["--unshare-net"]}
    plan = found({**options, "binds": ["/cvmfs", "/a:/b:ro"]})
    names = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr")
    system = "".join(f"--ro-bind-try /images/el9/{name} /{name} " for name in names)
    line = (
        f"bwrap {system}--dev /dev --proc /proc --tmpfs /tmp --bind /cvmfs /cvmfs --ro-bind /a /b --bind @ @ "
        "--unshare-pid --die-with-parent --clearenv --chdir @ --unshare-net"
    )
    assert list(plan.argv) == words(line) + SCRIPT
    assert dict(plan.files) == {"raythena_payload.sh": INSIDE}


def test_alrb_chooses_the_engine():
    plan = found(
        {"engine": "alrb", "image": "/cvmfs/images/x86_64-el9", "options": ["--nv"]}, ours={**OURS, "ALRB_noGridMW": "YES"}
    )
    assert plan.argv == ("/bin/bash", "/node/n 1/raythena_alrb.sh")
    assert dict(plan.files)["raythena_alrb.sh"] == (
        "#!/bin/bash\n"
        "cd '/node/n 1' || exit 125\n"
        "export ATLAS_LOCAL_ROOT_BASE=/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase\n"
        "export thePlatform=/cvmfs/images/x86_64-el9\n"
        "source /cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase/user/atlasLocalSetup.sh"
        ' -c "$thePlatform" -s none'
        " -r '/bin/bash '\"'\"'/node/n 1'\"'\"'/raythena_payload.sh'"
        " -e ''\"'\"'--bind=/node/n 1'\"'\"' --nv'\n"
    )
    assert dict(plan.files)["raythena_payload.sh"] == INSIDE
    assert plan.environment == {**BASIC, "ALRB_noGridMW": "YES", "ATHENA_PROC_NUMBER": "8"}


def test_alrb_with_an_engine_that_is_named_binds_as_that_engine_does():
    plan = found({"engine": "alrb", "image": "i", "alrb_engine": "shifter", "binds": ["/data", "/a:/b"], "default_mounts": False})
    line = dict(plan.files)["raythena_alrb.sh"].splitlines()[-1]
    assert ' --swtype shifter -c "$thePlatform" -d -s none -r ' in line
    assert "--volume=/data:/data --volume=/a:/b" in line
    plan = found({"engine": "alrb", "image": "i", "alrb_engine": "apptainer", "binds": ["/data", "/a:/b"]})
    assert "--bind=/data --bind=/a:/b" in dict(plan.files)["raythena_alrb.sh"]


def test_what_the_job_reads_and_writes_is_bound_outer_paths_first():
    place = Place("/in/scratch/w", "/home/me", reads=("/in", "/evnt"), writes=("/run/sockets", "/in/scratch/w"))
    plan = found({"engine": "apptainer", "image": "i", "binds": ["/evnt2:/evnt"]}, place)
    bound = [word for at, word in enumerate(plan.argv) if at and plan.argv[at - 1] == "--bind"]
    assert bound == ["/in:/in:ro", "/evnt2:/evnt", "/home/me", "/run/sockets", "/in/scratch/w"]
    assert dict(plan.files)["raythena_payload.sh"].startswith("#!/bin/bash\ncd /home/me || exit 125\n: > /in/scratch/w/")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("podman-hpc", "--ipc=host --volume=/tmp:/tmp"),
        ("bubblewrap", "--bind /tmp /tmp --bind /dev/shm /dev/shm"),
    ],
)
def test_what_talks_through_the_node_s_ipc_gets_it(engine, said):
    argv = found({"engine": engine, "image": "/i"}, Place("/d", shares_ipc=True)).argv
    assert said in " ".join(argv)
    assert said not in " ".join(found({"engine": engine, "image": "/i"}, Place("/d")).argv)


@pytest.mark.parametrize("engine", [engine for engine in Engine if engine not in (Engine.NONE, Engine.BUBBLEWRAP)])
@pytest.mark.parametrize("path", ["/a,b", "/a:b"])
def test_paths_of_ours_that_an_engine_would_cut_are_refused(engine, path):
    with pytest.raises(InvalidInput, match="misread"):
        found({"engine": engine, "image": "/i"}, Place(path))


@pytest.mark.parametrize("engine", Engine)
def test_no_value_of_a_variable_stands_on_a_command_line(engine):
    plan = launch(
        Container(engine, "/i", setup=("true",)), ["true"], Place("/d"), {"KEY": "secret"}, {"X509_USER_PROXY": "private"}
    )
    assert not any("secret" in word or "private" in word for word in plan.argv)
    assert "export KEY=secret" in dict(plan.files)["raythena_payload.sh"]


@pytest.mark.parametrize("engine", Engine)
def test_ray_s_variables_do_not_come_inside(engine):
    if engine is not Engine.NONE:
        assert "RAY_" not in dict(found({"engine": engine, "image": "/i"}).files)["raythena_payload.sh"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12), max_size=4),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12),
)
def test_bash_hands_every_argument_and_variable_on_untouched(tmp_path_factory, words, value):
    directory = tmp_path_factory.mktemp("a b'c")
    show = ["/bin/bash", "-c", 'printf "%s\\0" "$VALUE" "$@"', "bash", *words]
    plan = launch(Container(setup=("true",)), show, Place(str(directory)), {"VALUE": value}, {})
    for name, content in plan.files:
        (directory / name).write_bytes(content.encode())
    shown = subprocess.run(plan.argv, capture_output=True, check=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}).stdout
    assert shown.decode().split("\0")[:-1] == [value, *words]


def test_a_directory_that_is_not_there_inside_is_an_exit_status(tmp_path):
    plan = launch(Container(setup=("true",)), ["true"], Place(str(tmp_path)), {}, {})
    (tmp_path / "script").write_text(dict(plan.files)["raythena_payload.sh"].replace(str(tmp_path), "/no/such/place"))
    assert subprocess.run(["/bin/bash", tmp_path / "script"], stderr=subprocess.DEVNULL, check=False).returncode == 125


@pytest.mark.parametrize(
    ("engine", "said", "complaint"),
    [
        (Engine.APPTAINER, "INFO:    Converting\nFATAL:   could not open image /x\n", "FATAL:   could not open image /x"),
        (Engine.APPTAINER, "\x1b[91mERROR  : no capability\n\x1b[0m", "ERROR  : no capability"),
        (Engine.SINGULARITY, "WARNING: a\nFATAL:   b\nbye\n", "FATAL:   b"),
        (Engine.SHIFTER, "FAILED to find requested image.\n", "FAILED to find requested image."),
        (Engine.PODMAN_HPC, "Trying to pull\nError: initializing source\n", "Error: initializing source"),
        (Engine.BUBBLEWRAP, "bwrap: Can't find source path /x: No such file or directory\n", "bwrap: Can't find source path /x"),
        (Engine.ALRB, "/d/raythena_alrb.sh: line 5: /x/atlasLocalSetup.sh: No such file or directory\n", "/d/raythena_alrb.sh"),
        (Engine.APPTAINER, "one\ntwo\n", "two"),
        (Engine.NONE, "", "it said nothing"),
    ],
)
def test_the_engine_s_own_words_are_found(engine, said, complaint):
    assert engine_words(engine, said).startswith(complaint)


def test_the_program_of_each_engine():
    assert {engine: engine_program(Container(engine)) for engine in Engine} == {
        Engine.NONE: "",
        Engine.APPTAINER: "apptainer",
        Engine.SINGULARITY: "singularity",
        Engine.SHIFTER: "shifter",
        Engine.PODMAN_HPC: "podman-hpc",
        Engine.BUBBLEWRAP: "bwrap",
        Engine.ALRB: "",
    }
