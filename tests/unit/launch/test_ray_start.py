"""Nodes without Ray's helper programs: the options, the parts of Ray that are used, and what is left out."""

from pathlib import Path

import pytest
import ray._raylet

from raythena.launch.ray_environment import start_head, start_node
from raythena.launch.ray_start import is_known, last_words, parse, without_agents

HEAD = start_head("127.0.0.1", 6379, Path("/tmp/rt-x/ray"), 8, "raythena_core")
NODE = start_node("127.0.0.1:6379", "127.0.0.1", 8, "raythena_core", temporary=Path("/tmp/t"), name="n-1")


@pytest.mark.parametrize("argv", [HEAD, NODE], ids=["head", "node"])
def test_it_takes_what_we_write(argv):
    options = parse(argv[argv.index("start") + 1 :])
    assert (options.num_cpus, options.resources, options.node_ip_address) == (8, {"raythena_core": 8}, "127.0.0.1")
    assert (options.head, options.port, options.address) == (
        (True, 6379, None) if argv is HEAD else (False, None, "127.0.0.1:6379")
    )


def test_an_option_it_does_not_know_is_refused_not_overlooked(capsys):
    with pytest.raises(SystemExit):
        parse([*HEAD[HEAD.index("start") + 1 :], "--num-gpus=1"])
    assert "--num-gpus" in capsys.readouterr().err


def test_the_ray_that_is_installed_has_the_parts(monkeypatch):
    assert is_known()
    monkeypatch.delattr(ray._raylet, "persist_port")
    assert not is_known(), "then Ray's own command is used"


def test_only_the_agents_are_left_out():
    command = ["raylet", "--node_id=1", "--dashboard_agent_command=python agent.py", "--runtime_env_agent_command=python main.py"]
    assert without_agents(command)[:2] == command[:2]
    assert not any("python" in word for word in without_agents(command))
    assert len(without_agents(command)) == 4


def test_of_what_a_process_wrote_the_end_is_told(tmp_path):
    (tmp_path / "raylet.out").write_text("\n".join(f"line {number}" for number in range(100)))
    (tmp_path / "raylet.err").write_text("killed\n")
    assert last_words(tmp_path, "raylet").splitlines()[-2:] == ["line 99", "killed"]
    assert "line 50" not in last_words(tmp_path, "raylet")
    assert last_words(tmp_path, "gcs_server") == ""
