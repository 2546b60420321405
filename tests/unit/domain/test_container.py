"""What a container may be given, and what is refused because an engine would drop or misread it."""

import pytest

from raythena.domain.container import ALWAYS_INHERITED, Bind, Container, Engine, parse_container, refuse_isolation
from raythena.domain.errors import InvalidInput


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
        ({"inherit": "HOME"}, "container.inherit"),
        ({"engine": "podman-hpc"}, "container.image"),
        ({"engine": "bubblewrap", "image": "debian:12"}, "container.image"),
    ],
)
def test_options_that_cannot_work_are_refused(options, field):
    with pytest.raises(InvalidInput) as refusal:
        parse_container(options, "job.yaml", "container")
    assert refusal.value.field == field


@pytest.mark.parametrize("option", ["-C", "--containall", "-c", "--contain", "--ipc", "-i", "-eC", "--ipc=yes"])
def test_a_container_that_hides_the_channel_is_refused(option):
    container = parse_container({"engine": "apptainer", "image": "i", "options": ["--nv", option]}, "job", "container")
    with pytest.raises(InvalidInput) as refusal:
        refuse_isolation(container, "job", "container")
    assert refusal.value.field == "container.options[1]"


@pytest.mark.parametrize("options", [["--cleanenv"], ["-B/cvmfs"], ["-B", "/cache:/c"], ["-e"], ["--pid"]])
def test_other_options_are_the_users(options):
    refuse_isolation(Container(Engine.APPTAINER, "i", tuple(options)), "job", "container")


@pytest.mark.parametrize(
    ("engine", "option", "refused"),
    [
        ("podman-hpc", "--ipc=private", True),
        ("podman-hpc", "--ipc=host", False),
        ("bubblewrap", "--unshare-all", True),
        ("bubblewrap", "--unshare-ipc", True),
        ("bubblewrap", "--unshare-net", False),
        ("shifter", "--module=gpu", False),
    ],
)
def test_every_engine_has_its_own_ways_to_hide_the_channel(engine, option, refused):
    container = parse_container({"engine": engine, "image": "/i", "options": [option]}, "job", "container")
    if not refused:
        refuse_isolation(container, "job", "container")
        return
    with pytest.raises(InvalidInput, match="isolates"):
        refuse_isolation(container, "job", "container")


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"image": "x"}, "image", "means nothing to the engine 'none'"),
        ({"binds": ["/a"], "setup": ["true"]}, "binds", "means nothing to the engine 'none'"),
        ({"options": ["--nv"]}, "options", "means nothing"),
        (
            {"engine": "apptainer", "image": "i", "alrb_engine": "shifter"},
            "alrb_engine",
            "means nothing",
        ),
        ({"engine": "shifter", "default_mounts": False}, "default_mounts", "means nothing"),
        ({"engine": "alrb", "image": "i", "binds": ["/a"]}, "binds", "ALRB chooses the engine"),
        ({"engine": "alrb", "image": "i", "binds": ["/a"], "alrb_engine": "docker"}, "binds", "ALRB chooses the engine"),
        ({"engine": "apptainer", "image": "i", "binds": ["/a", "/b,/c"]}, "binds[1]", "comma"),
        ({"engine": "apptainer", "image": "i", "binds": ["data"]}, "binds[0]", "absolute"),
        ({"engine": "apptainer", "image": "i", "binds": ["/a:b"]}, "binds[0]", "absolute"),
        ({"engine": "apptainer", "image": "i", "binds": ["/a:/b:z"]}, "binds[0]", "'z' means nothing to apptainer"),
        ({"engine": "shifter", "binds": ["/a:/b:rw"]}, "binds[0]", "'rw' means nothing to shifter"),
        ({"engine": "bubblewrap", "image": "/i", "binds": ["/a:/b:z"]}, "binds[0]", "'z' means nothing to bubblewrap"),
        ({"engine": "podman-hpc", "image": "i", "options": ["-itd"]}, "options[0]", "ends before|end before"),
        ({"engine": "podman-hpc", "image": "i", "options": ["--gpu", "--detach"]}, "options[1]", "end before"),
    ],
)
def test_what_an_engine_would_drop_or_misread_is_refused(options, field, words):
    with pytest.raises(InvalidInput, match=words) as refusal:
        parse_container(options, "job.yaml", "container")
    assert refusal.value.field == f"container.{field}"


def test_a_bind_has_two_sides_and_flags():
    assert Bind.parse("/a") == Bind("/a", "/a")
    assert Bind.parse("/a:/b") == Bind("/a", "/b")
    assert Bind.parse("/a:/b:ro") == Bind("/a", "/b", "ro")


def test_variables_come_inside_by_name_only():
    ours = {"USER": "me", "TOKEN": "secret", "SITE_A": "1", "SITE_B": "2", "SITE": "3"}
    assert Container().inherited(ours) == {"USER": "me"}
    assert Container(inherit=("SITE_*",)).inherited(ours) == {"USER": "me", "SITE_A": "1", "SITE_B": "2"}
    assert Container(inherit=("SITE",)).inherited(ours) == {"USER": "me", "SITE": "3"}
    assert not any(name.startswith(("RAY", "PATH", "LD_")) for name in ALWAYS_INHERITED)
