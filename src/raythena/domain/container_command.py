"""Where a command runs: on the node as it is, with a release set up, in a container, in a container through ALRB.

`launch` turns a command into what has to be started for that: a list of arguments, an environment, and small scripts to be
written beside it. Nothing is started, looked up or written here.

    none         the command itself; with set-up lines, a script that says them and then the command
    apptainer    `apptainer exec --cleanenv … IMAGE /bin/bash SCRIPT`; `singularity` is the same under its older name
    shifter      `shifter --clearenv --image=IMAGE … /bin/bash SCRIPT`
    podman-hpc   `podman-hpc run --rm … IMAGE /bin/bash SCRIPT`
    bubblewrap   `bwrap --clearenv … /bin/bash SCRIPT` on a root file system in a directory
    alrb         ATLASLocalRootBase chooses and starts the container (`atlasLocalSetup.sh -c IMAGE -r SCRIPT`)

Rules: everything is started by bash, never by /bin/sh, because set-up lines use `source`, which dash does not know; no variable
of ours comes inside but those that `Container.inherited` names, and the script sets them itself, since everybody can read a
command line; what the command reads and writes is bound under the same path. The first thing the script does is to leave a mark
(`ENTERED`): where it is missing the engine has failed, whatever its exit status is; where it is there, the command has.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raythena.domain.container import APPTAINER_KIND, Bind, Container, Engine
from raythena.domain.errors import InvalidInput

PAYLOAD_SCRIPT = "raythena_payload.sh"
ALRB_SCRIPT = "raythena_alrb.sh"
ENTERED = "raythena_payload.entered"
NO_DIRECTORY_STATUS = 125
"""Exit status of the script when the working directory is not there, inside the container for instance."""
_SYSTEM = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr")
"""What bubblewrap takes from a root file system: places for binds can be made only where nothing of it is mounted."""
_ENGINE_WORDS: Mapping[str, re.Pattern[str]] = {
    Engine.APPTAINER: re.compile(r"(FATAL|ERROR)\s*:"),
    Engine.SHIFTER: re.compile(r"shifter:|FAILED|ERROR|Invalid"),
    Engine.PODMAN_HPC: re.compile(r"Error:|podman"),
    Engine.BUBBLEWRAP: re.compile(r"bwrap:"),
    Engine.ALRB: re.compile(r"(FATAL|ERROR|Error)\s*:|\S*atlasLocalSetup\.sh:|.*No such file"),
}
"""How lines begin in which engines say what is wrong."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ALRB_VARIABLES = ("ALRB_*", "APPTAINER_*", "ATLAS_*", "HOME", "PATH", "RUCIO_*", "SHELL", "SINGULARITY_*", "TMPDIR")
"""What ALRB itself works with."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs, and what it must see there. All paths are absolute."""

    directory: str
    """Where the scripts are written; bound for writing."""
    working_directory: str = ""
    """Empty: `directory`."""
    reads: tuple[str, ...] = ()
    """Directories bound for reading."""
    writes: tuple[str, ...] = ()
    """More directories bound for writing."""
    shares_ipc: bool = False
    """It talks to programs outside through the node's IPC, `/tmp` and `/dev/shm`."""

    @property
    def working(self) -> str:
        """Where the command begins."""
        return self.working_directory or self.directory

    def binds(self, given: Sequence[Bind]) -> list[Bind]:
        """All binds, outer ones first. What is `given` goes before what is bound by itself."""
        writes = {path: Bind(path, path) for path in (self.directory, self.working, *self.writes)}
        reads = {path: Bind(path, path, "ro") for path in self.reads if path not in writes}
        found = {bind.inside: bind for bind in (*reads.values(), *writes.values(), *given)}
        return sorted(found.values(), key=lambda bind: bind.inside.rstrip("/").count("/"))


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: `argv` with `environment`, after writing `files` (name and content) into the place's directory.

    The files may hold values that concern nobody else.
    """

    argv: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    environment: Mapping[str, str]


def launch(
    container: Container, command: Sequence[str], place: Place, variables: Mapping[str, str], surrounding: Mapping[str, str]
) -> Launch:
    """What to start so that `command` runs at `place` with `variables` set; `surrounding` are the variables we have ourselves.

    Raises InvalidInput when the engine would misread a path.
    """
    environment = {**_for_engine(container, surrounding), **variables}
    if container.engine is Engine.NONE and not container.setup:
        return Launch(tuple(command), (), environment)
    _check_paths(container, place)
    script = (PAYLOAD_SCRIPT, _payload_script(container, command, place, variables, surrounding))
    path = f"{place.directory}/{PAYLOAD_SCRIPT}"
    if container.engine is Engine.ALRB:
        files = (script, (ALRB_SCRIPT, _alrb_script(container, place)))
        return Launch(("/bin/bash", f"{place.directory}/{ALRB_SCRIPT}"), files, environment)
    return Launch((*_engine_arguments(container, place), "/bin/bash", path), (script,), environment)


def engine_program(container: Container) -> str:
    """The program that must be on PATH; empty where none is needed."""
    if container.engine in (Engine.NONE, Engine.ALRB):
        return ""
    return "bwrap" if container.engine is Engine.BUBBLEWRAP else str(container.engine)


def engine_words(engine: Engine, said: str) -> str:
    """The line in which an engine says what is wrong: the first that looks like it, otherwise the last there is."""
    lines = [line.strip() for line in _COLOURS.sub("", said).splitlines() if line.strip()]
    pattern = _ENGINE_WORDS.get(Engine.APPTAINER if engine is Engine.SINGULARITY else engine)
    complaints = [line for line in lines if pattern and pattern.match(line)]
    return next(iter(complaints), lines[-1] if lines else "it said nothing")


def _for_engine(container: Container, surrounding: Mapping[str, str]) -> Mapping[str, str]:
    """The environment the engine itself gets. ALRB hands on what it finds."""
    if container.engine is Engine.ALRB:
        more = Container(inherit=(*(container.inherit or ()), *_ALRB_VARIABLES))
        return more.inherited(surrounding)
    if container.engine is Engine.NONE and container.inherit is not None:
        return Container(inherit=(*container.inherit, "HOME", "PATH")).inherited(surrounding)
    return surrounding


def _check_paths(container: Container, place: Place) -> None:
    """Refuse paths of ours that an engine would cut in two."""
    for bind in place.binds(()) if container.engine not in (Engine.NONE, Engine.BUBBLEWRAP) else ():
        if found := next((mark for mark in ",:" if mark in bind.outside), ""):
            problem = f"{found!r} in {bind.outside} would be misread by {container.engine}"
            raise InvalidInput("job", "container", problem, expected="scratch and inputs in directories without it")


def _payload_script(
    container: Container, command: Sequence[str], place: Place, variables: Mapping[str, str], surrounding: Mapping[str, str]
) -> str:
    inherited = {} if container.engine is Engine.NONE else container.inherited(surrounding)
    lines = [
        "#!/bin/bash",
        f"cd {shlex.quote(place.working)} || exit {NO_DIRECTORY_STATUS}",
        f": > {shlex.quote(f'{place.directory}/{ENTERED}')} || exit {NO_DIRECTORY_STATUS}",
        *([] if container.engine is Engine.NONE else [f'export PATH HOME="${{HOME:-{place.directory}}}"']),
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted({**inherited, **variables}.items())),
        *container.setup,
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


def _engine_arguments(container: Container, place: Place) -> list[str]:
    binds = place.binds([Bind.parse(text) for text in container.binds])
    image, options = container.image, container.options
    if container.engine in APPTAINER_KIND:
        bound = [word for bind in binds for word in ("--bind", _joined(bind))]
        return [str(container.engine), "exec", "--cleanenv", "--pwd", place.working, *bound, *options, image]
    if container.engine is Engine.SHIFTER:
        chosen = [f"--image={image}"] if image else []
        return ["shifter", "--clearenv", *chosen, f"--workdir={place.working}", *_volumes(binds), *options]
    if container.engine is Engine.PODMAN_HPC:
        shared = ["--ipc=host", "--volume=/tmp:/tmp"] if place.shares_ipc else []
        return ["podman-hpc", "run", "--rm", f"--workdir={place.working}", *shared, *_volumes(binds), *options, image]
    return _bubblewrap(container, place, binds) if container.engine is Engine.BUBBLEWRAP else []


def _bubblewrap(container: Container, place: Place, binds: Iterable[Bind]) -> list[str]:
    root = container.image.rstrip("/")
    system = [word for name in _SYSTEM for word in ("--ro-bind-try", f"{root}/{name}", f"/{name}")]
    own = ["--dev", "/dev", "--proc", "/proc"]
    shared = ["--bind", "/tmp", "/tmp", "--bind", "/dev/shm", "/dev/shm"] if place.shares_ipc else ["--tmpfs", "/tmp"]  # noqa: S108
    bound = [word for bind in binds for word in ("--ro-bind" if bind.flags == "ro" else "--bind", bind.outside, bind.inside)]
    ends = ["--unshare-pid", "--die-with-parent", "--clearenv", "--chdir", place.working]
    return ["bwrap", *system, *own, *shared, *bound, *ends, *container.options]


def _joined(bind: Bind) -> str:
    """As apptainer takes it: no more words than needed."""
    if bind.flags:
        return f"{bind.outside}:{bind.inside}:{bind.flags}"
    return bind.outside if bind.inside == bind.outside else f"{bind.outside}:{bind.inside}"


def _volumes(binds: Iterable[Bind]) -> list[str]:
    """As shifter and podman take it: both paths have to be said."""
    return [f"--volume={bind.outside}:{bind.inside}" + (f":{bind.flags}" if bind.flags else "") for bind in binds]


def _alrb_script(container: Container, place: Place) -> str:
    binds = place.binds([Bind.parse(text) for text in container.binds])
    shifter = container.alrb_engine == Engine.SHIFTER
    handed_on = shlex.join([*(_volumes(binds) if shifter else [f"--bind={_joined(bind)}" for bind in binds]), *container.options])
    words = [
        f"source {shlex.quote(container.alrb_base)}/user/atlasLocalSetup.sh",
        *([f"--swtype {shlex.quote(container.alrb_engine)}"] if container.alrb_engine else []),
        '-c "$thePlatform"',
        *([] if container.default_mounts else ["-d"]),
        "-s none",
        f"-r {shlex.quote(f'/bin/bash {shlex.quote(place.directory)}/{PAYLOAD_SCRIPT}')}",
        f"-e {shlex.quote(handed_on)}",
    ]
    lines = [
        "#!/bin/bash",
        f"cd {shlex.quote(place.directory)} || exit {NO_DIRECTORY_STATUS}",
        f"export ATLAS_LOCAL_ROOT_BASE={shlex.quote(container.alrb_base)}",
        f"export thePlatform={shlex.quote(container.image)}",
        " ".join(words),
    ]
    return "\n".join(lines) + "\n"
