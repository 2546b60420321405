"""Where a transform runs: on the node as it is, with a release set up, in a container, in a container through ALRB.

`launch` turns a command into what has to be started for that: a list of arguments, and small scripts to be written beside it.
Nothing is started, looked up or written here.

    none         the command itself; with set-up lines, a script that says them and then the command
    apptainer    `apptainer exec OPTIONS IMAGE /bin/bash SCRIPT`; `singularity` is the same under its older name
    shifter      `shifter --image=IMAGE OPTIONS /bin/bash SCRIPT`
    alrb         ATLASLocalRootBase chooses and starts the container (`atlasLocalSetup.sh -c IMAGE -r SCRIPT`)

Rules: everything is started by bash, never by /bin/sh, because set-up lines use `source`, which dash does not know; the script
sets its variables itself, because container engines may clear the environment; the working directory must exist inside the
container under the same path, so it is bound there unless the engine does so by itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from raythena.domain.errors import InvalidInput

ALRB_BASE = "/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase"
PAYLOAD_SCRIPT = "raythena_payload.sh"
ALRB_SCRIPT = "raythena_alrb.sh"
NO_DIRECTORY_STATUS = 125
"""Exit status of the script when the working directory is not there, inside the container for instance."""
_ISOLATING = frozenset({"--contain", "--containall", "--ipc"})
_ISOLATING_FLAGS = re.compile(r"-[aefFpuwy]*[cCi][acCefFipuwy]*")
"""The same as letters, among others of apptainer's that take no value."""
KEYS = ("engine", "image", "options", "binds", "setup", "alrb_base", "alrb_engine", "default_mounts")


class Engine(StrEnum):
    """What starts the container."""

    NONE = "none"
    APPTAINER = "apptainer"
    SINGULARITY = "singularity"
    SHIFTER = "shifter"
    ALRB = "alrb"


@dataclass(frozen=True, slots=True)
class Container:
    """The surroundings of a command."""

    engine: Engine = Engine.NONE
    image: str = ""
    options: tuple[str, ...] = ()
    """More arguments for the engine; with `alrb`, what it hands on to the engine it chooses (`-e`)."""
    binds: tuple[str, ...] = ()
    """Paths to be seen inside, each `PATH` or `PATH:PATH INSIDE[:OPTIONS]`."""
    setup: tuple[str, ...] = ()
    """Lines of bash to be run inside before the command: `asetup` and its kind."""
    alrb_base: str = ALRB_BASE
    alrb_engine: str = ""
    """The engine ALRB shall use (`--swtype`); empty: its own choice."""
    default_mounts: bool = True
    """Let ALRB mount what it always mounts; False: `-d`."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: `argv`, after writing `files` (name and content) into the working directory."""

    argv: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()


def parse_container(value: Any, source: str, field: str) -> Container:
    """A container from a mapping of options; absent or empty means none. Raises InvalidInput naming the field below `field`."""
    if value is None or value == {}:
        return Container()
    if not isinstance(value, Mapping):
        raise InvalidInput(source, field, f"{value!r} is not a mapping", expected="engine, image, options, …")
    for key in value:
        if key not in KEYS:
            raise InvalidInput(source, f"{field}.{key}", "unknown option", expected="one of " + ", ".join(KEYS))
    engine = _engine(value.get("engine", "none"), source, f"{field}.engine")
    image = _text(value, "image", source, field)
    if engine in (Engine.APPTAINER, Engine.SINGULARITY, Engine.ALRB) and not image:
        raise InvalidInput(source, f"{field}.image", "is missing", expected=f"the image {engine} shall run")
    if not isinstance(value.get("default_mounts", True), bool):
        raise InvalidInput(source, f"{field}.default_mounts", f"is {value['default_mounts']!r}", expected="true or false")
    return Container(
        engine,
        image,
        _texts(value, "options", source, field),
        _texts(value, "binds", source, field),
        _texts(value, "setup", source, field),
        _text(value, "alrb_base", source, field) or ALRB_BASE,
        _text(value, "alrb_engine", source, field),
        bool(value.get("default_mounts", True)),
    )


def launch(container: Container, command: Sequence[str], directory: str, variables: Mapping[str, str]) -> Launch:
    """What to start so that `command` runs in `directory` (absolute) with `variables` set, in the container's surroundings.

    With no container and no set-up lines it is the command itself, and `variables` are for the caller to pass on.
    """
    if container.engine is Engine.NONE and not container.setup:
        return Launch(tuple(command))
    script = (PAYLOAD_SCRIPT, _payload_script(container, command, directory, variables))
    path = f"{directory}/{PAYLOAD_SCRIPT}"
    if container.engine is Engine.ALRB:
        return Launch(("/bin/bash", f"{directory}/{ALRB_SCRIPT}"), (script, (ALRB_SCRIPT, _alrb_script(container, directory))))
    return Launch((*_engine_arguments(container, directory), "/bin/bash", path), (script,))


def _payload_script(container: Container, command: Sequence[str], directory: str, variables: Mapping[str, str]) -> str:
    lines = ["#!/bin/bash", f"cd {shlex.quote(directory)} || exit {NO_DIRECTORY_STATUS}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    lines += [*container.setup, f"exec {shlex.join(command)}"]
    return "\n".join(lines) + "\n"


def _engine_arguments(container: Container, directory: str) -> list[str]:
    engine = container.engine
    if engine is Engine.NONE:
        return []
    if engine is Engine.SHIFTER:
        image = [f"--image={container.image}"] if container.image else []
        volumes = _volumes(container.binds)
        return ["shifter", "--clearenv", *image, f"--workdir={directory}", *volumes, *container.options]
    binds = [word for bind in (directory, *container.binds) for word in ("--bind", bind)]
    return [str(engine), "exec", "--pwd", directory, *binds, *container.options, container.image]


def _volumes(binds: Sequence[str]) -> list[str]:
    """Binds as shifter takes them: both paths have to be said. It sees the working directory by itself."""
    return [f"--volume={bind if ':' in bind else f'{bind}:{bind}'}" for bind in binds]


def _alrb_script(container: Container, directory: str) -> str:
    shifter = container.alrb_engine == Engine.SHIFTER
    binds = _volumes(container.binds) if shifter else [f"--bind={bind}" for bind in (directory, *container.binds)]
    handed_on = shlex.join([*binds, *container.options])
    words = [
        f"source {shlex.quote(container.alrb_base)}/user/atlasLocalSetup.sh",
        *([f"--swtype {shlex.quote(container.alrb_engine)}"] if container.alrb_engine else []),
        '-c "$thePlatform"',
        *([] if container.default_mounts else ["-d"]),
        "-s none",
        f"-r {shlex.quote(f'/bin/bash {shlex.quote(directory)}/{PAYLOAD_SCRIPT}')}",
        *([f"-e {shlex.quote(handed_on)}"] if handed_on else []),
    ]
    lines = [
        "#!/bin/bash",
        f"cd {shlex.quote(directory)} || exit {NO_DIRECTORY_STATUS}",
        f"export ATLAS_LOCAL_ROOT_BASE={shlex.quote(container.alrb_base)}",
        f"export thePlatform={shlex.quote(container.image)}",
        " ".join(words),
    ]
    return "\n".join(lines) + "\n"


def _engine(value: Any, source: str, field: str) -> Engine:
    try:
        return Engine(value)
    except ValueError:
        expected = "one of " + ", ".join(Engine)
        raise InvalidInput(source, field, f"is {value!r}", expected=expected) from None


def refuse_isolation(container: Container, source: str, field: str) -> None:
    """Refuse a container with an IPC or /tmp of its own, for programs that talk to others on the node. Raises InvalidInput."""
    for at, option in enumerate(container.options):
        if option.partition("=")[0] in _ISOLATING or _ISOLATING_FLAGS.fullmatch(option):
            hint = "AthenaMP's channel needs the host's IPC, /tmp and /dev/shm"
            problem = f"{option!r} isolates the container"
            raise InvalidInput(source, f"{field}.options[{at}]", problem, expected="options that leave it open", hint=hint)


def _text(options: Mapping[str, Any], key: str, source: str, field: str) -> str:
    value = options.get(key, "")
    if not isinstance(value, str) or "\0" in value or "\n" in value:
        raise InvalidInput(source, f"{field}.{key}", f"is {value!r}", expected="a line of text")
    return value


def _texts(options: Mapping[str, Any], key: str, source: str, field: str) -> tuple[str, ...]:
    value = options.get(key, ())
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise InvalidInput(source, f"{field}.{key}", f"is {value!r}", expected="a list of texts")
    return tuple(value)
