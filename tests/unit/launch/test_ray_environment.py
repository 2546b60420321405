"""The command lines that start Ray: what they say, and that this version of Ray understands it."""

from pathlib import Path

import pytest
from ray.job_config import JobConfig

from raythena.launch.ray_environment import own_paths_only, ray_environment, start_head, start_node, without_ray

HEAD = start_head("127.0.0.1", 6379, Path("/tmp/rt-x/ray"), 8, "raythena_core")
NODE = start_node("127.0.0.1:6379", "127.0.0.1", 8, "raythena_core")


def test_a_head_is_started_without_what_only_long_lived_clusters_need():
    assert {"--head", "--no-monitor", "--include-dashboard=false", "--include-log-monitor=false", "--block"} <= set(HEAD)
    assert "--port=6379" in HEAD
    assert "--temp-dir=/tmp/rt-x/ray" in HEAD


def test_other_nodes_are_told_where_the_head_is_and_nothing_of_it():
    assert "--address=127.0.0.1:6379" in NODE
    assert not {"--head", "--no-monitor"} & set(NODE)


@pytest.mark.parametrize("argv", [HEAD, NODE], ids=["head", "node"])
def test_ray_knows_every_option(argv):
    """Parsed, not run: `ray start` hides some of the options it has."""
    from ray.scripts.scripts import start

    start.make_context("start", argv[argv.index("start") + 1 :])


def test_neither_ray_nor_the_kernel_ends_coordinator_and_agents_for_want_of_memory():
    """Ray would end its own workers, which are those two, and has the kernel take them first."""
    environment = ray_environment(Path("/token"))
    assert environment["RAY_memory_monitor_refresh_ms"] == "0"
    assert environment["RAY_worker_oom_score_adjustment"] == "0"


def test_ray_knows_every_variable_we_set():
    """What Ray's own programs do not name they do not read: a setting that was renamed would be lost without a word."""
    import ray

    programs = [
        path
        for path in Path(ray.__file__).parent.rglob("*")
        if path.is_file() and path.name in {"raylet", "gcs_server", "_raylet.so"}
    ]
    known = b"".join(path.read_bytes() for path in programs)
    sources = [path for part in ("_private", "_common") for path in Path(ray.__file__).parent.glob(f"{part}/**/*.py")]
    python = "\n".join(path.read_text(errors="replace") for path in sources)
    for name in ray_environment(Path("/token")):
        bare = name.removeprefix("RAY_")
        assert bare.encode() in known or name in python or bare in python, name


def test_variables_meant_for_others_are_not_inherited():
    told = {
        "RAY_REDIS_ADDRESS",
        "RAY_ADDRESS",
        "GRPC_VERBOSITY",
        "PYTHONWARNINGS",
        "PYTHONSTARTUP",
        "PYTHONOPTIMIZE",
        "PYTHONDEVMODE",
    }
    kept = {"PATH", "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "RAYTHENA_NODES_COUNT", "SLURM_JOB_ID"}
    assert set(without_ray(told | kept)) == told


def test_ray_starts_without_the_directory_it_is_started_in():
    for argv in (HEAD, NODE):
        assert argv.index("-P") < argv.index("-m")


def test_workers_get_no_path_of_the_drivers():
    for made, taken in ((own_paths_only(), False), (JobConfig(), True)):
        made._py_driver_sys_path.extend(["/somewhere"])
        assert (b"/somewhere" in made._serialize()) is taken
