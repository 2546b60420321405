"""The surroundings of a command: which container, what is seen inside, which variables come along. Values and their checks.

`domain.container_command` makes of them what has to be started. Payloads and mergers read the same mapping of options.

Rules: what an engine would not do, or would do without a word in another way, is refused here with the reason: binds where it is
not known who makes them, commas and colons that cut a path in two, an image without an engine. Options for the engine itself are
handed on as they are, except those that take away what a program cannot do without (`refuse_isolation`) or that let the engine
end before the program does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput

ALRB_BASE = "/cvmfs/atlas.cern.ch/repo/ATLASLocalRootBase"
KEYS = ("engine", "image", "options", "binds", "inherit", "setup", "alrb_base", "alrb_engine", "default_mounts")
ALWAYS_INHERITED = (
    "FRONTIER_SERVER",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "TZ",
    "USER",
    "X509_CERT_DIR",
    "X509_USER_PROXY",
)
"""Variables of ours that come inside without being asked for."""


class Engine(StrEnum):
    """What starts the container."""

    NONE = "none"
    APPTAINER = "apptainer"
    SINGULARITY = "singularity"
    SHIFTER = "shifter"
    PODMAN_HPC = "podman-hpc"
    BUBBLEWRAP = "bubblewrap"
    ALRB = "alrb"


APPTAINER_KIND = (Engine.APPTAINER, Engine.SINGULARITY)
_NEED_IMAGE = (*APPTAINER_KIND, Engine.PODMAN_HPC, Engine.BUBBLEWRAP, Engine.ALRB)
_ALRB_BINDS = (*APPTAINER_KIND, Engine.SHIFTER)
_BIND_FLAGS: Mapping[str, re.Pattern[str]] = {
    Engine.APPTAINER: re.compile(r"r[ow]"),
    Engine.SINGULARITY: re.compile(r"r[ow]"),
    Engine.SHIFTER: re.compile(r"ro|rec|perNodeCache=.+"),
    Engine.PODMAN_HPC: re.compile(r"[a-zA-Z,]+"),
    Engine.BUBBLEWRAP: re.compile(r"r[ow]"),
}
_ISOLATING: Mapping[str, re.Pattern[str]] = {
    # the letters are those of apptainer's that take no value, with c, C or i among them
    Engine.APPTAINER: re.compile(r"--(contain|containall|ipc)(=.*)?|-[aefFpuwy]*[cCi][acCefFipuwy]*"),
    Engine.PODMAN_HPC: re.compile(r"--ipc(=(?!host$).*)?"),
    Engine.BUBBLEWRAP: re.compile(r"--unshare-(ipc|all)"),
}
_DETACHING: Mapping[str, re.Pattern[str]] = {Engine.PODMAN_HPC: re.compile(r"--detach(=.*)?|-[itP]*d[itP]*")}


@dataclass(frozen=True, slots=True)
class Container:
    """The surroundings of a command."""

    engine: Engine = Engine.NONE
    image: str = ""
    """With `bubblewrap` the directory that holds the root file system."""
    options: tuple[str, ...] = ()
    """More arguments for the engine; with `alrb`, what it hands on to the engine it chooses (`-e`)."""
    binds: tuple[str, ...] = ()
    """Paths to be seen inside, each `PATH` or `PATH:PATH INSIDE[:FLAGS]`, beside those of the job itself."""
    setup: tuple[str, ...] = ()
    """Lines of bash to be run inside before the command: `asetup` and its kind."""
    alrb_base: str = ALRB_BASE
    alrb_engine: str = ""
    """The engine ALRB shall use (`--swtype`); empty: its own choice."""
    default_mounts: bool = True
    """Let ALRB mount what it always mounts; False: `-d`."""
    inherit: tuple[str, ...] | None = None
    """Names of variables that come inside beside `ALWAYS_INHERITED`, `NAME*` for all that begin so. Without an engine, None lets
    everything through."""

    @property
    def binding_engine(self) -> str:
        """The engine that makes the binds; empty when nobody knows."""
        return self.alrb_engine if self.engine is Engine.ALRB else str(self.engine)

    @property
    def dialect(self) -> str:
        """The engine whose options these are. ALRB's own choice is apptainer, where there is one."""
        name = self.binding_engine or str(Engine.APPTAINER)
        return str(Engine.APPTAINER) if name == Engine.SINGULARITY else name

    def inherited(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Those of our variables that come inside."""
        names = {*ALWAYS_INHERITED, *(self.inherit or ())}
        starts = tuple(name[:-1] for name in names if name.endswith("*"))
        return {name: value for name, value in variables.items() if name in names or (starts and name.startswith(starts))}


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the node's that is seen inside."""

    outside: str
    inside: str
    flags: str = ""

    @classmethod
    def parse(cls, text: str) -> Bind:
        """From `PATH[:PATH INSIDE[:FLAGS]]`. Raises ValueError saying what is wrong."""
        outside, *more = text.split(":", 2)
        inside = more[0] if more else outside
        if not (outside.startswith("/") and inside.startswith("/")):
            raise ValueError("both paths must be absolute")
        if "," in outside + inside:
            raise ValueError("engines take a comma for the end of a path")
        return cls(outside, inside, more[1] if len(more) > 1 else "")


def parse_container(value: object, source: str, field: str) -> Container:
    """A container from a mapping of options; absent or empty means none. Raises InvalidInput naming the field below `field`."""
    if value is None or value == {}:
        return Container()
    if not isinstance(value, Mapping):
        raise InvalidInput(source, field, f"{value!r} is not a mapping", expected="engine, image, options, …")
    for key in value:
        if key not in KEYS:
            raise InvalidInput(source, f"{field}.{key}", "unknown option", expected="one of " + ", ".join(KEYS))
    if not isinstance(value.get("default_mounts", True), bool):
        raise InvalidInput(source, f"{field}.default_mounts", f"is {value['default_mounts']!r}", expected="true or false")
    container = Container(
        _engine(value.get("engine", "none"), source, f"{field}.engine"),
        _text(value, "image", source, field),
        _texts(value, "options", source, field),
        _texts(value, "binds", source, field),
        _texts(value, "setup", source, field),
        _text(value, "alrb_base", source, field) or ALRB_BASE,
        _text(value, "alrb_engine", source, field),
        bool(value.get("default_mounts", True)),
        _texts(value, "inherit", source, field) if "inherit" in value else None,
    )
    _check_image(container, source, f"{field}.image")
    _check_meant_for_engine(container, value, source, field)
    _check_binds(container, source, f"{field}.binds")
    _refuse_options(
        container, _DETACHING, "lets the engine end before the program does", FieldPath(source, f"{field}.options", None)
    )
    return container


def refuse_isolation(container: Container, source: str, field: str) -> None:
    """Refuse a container with an IPC or /tmp of its own, for programs that talk to others on the node. Raises InvalidInput."""
    problem = "isolates the container: AthenaMP's channel needs the host's IPC, /tmp and /dev/shm"
    _refuse_options(container, _ISOLATING, problem, FieldPath(source, f"{field}.options", None))


def _refuse_options(container: Container, wrong: Mapping[str, re.Pattern[str]], why: str, options: FieldPath) -> None:
    pattern = wrong.get(container.dialect)
    for at, option in enumerate(container.options):
        if pattern is not None and pattern.fullmatch(option):
            raise InvalidInput(options.source, f"{options.field}[{at}]", f"{option!r} {why}", expected="options that do not")


def _check_image(container: Container, source: str, field: str) -> None:
    if container.engine in _NEED_IMAGE and not container.image:
        raise InvalidInput(source, field, "is missing", expected=f"the image {container.engine} shall run")
    if container.engine is Engine.BUBBLEWRAP and not container.image.startswith("/"):
        expected = "the absolute path of a directory with a root file system"
        raise InvalidInput(source, field, f"is {container.image!r}", expected=expected)


def _check_meant_for_engine(container: Container, value: Mapping[str, object], source: str, field: str) -> None:
    """Nothing is given that would be dropped without a word."""
    idle = {
        Engine.NONE: ("image", "options", "binds", "alrb_base", "alrb_engine", "default_mounts"),
        Engine.ALRB: (),
    }.get(container.engine, ("alrb_engine", "default_mounts"))
    for key in idle:
        if key in value:
            problem = f"means nothing to the engine {str(container.engine)!r}"
            raise InvalidInput(source, f"{field}.{key}", problem, hint="Name the engine it is for, or leave it out")


def _check_binds(container: Container, source: str, field: str) -> None:
    if container.binds and container.engine is Engine.ALRB and container.alrb_engine not in _ALRB_BINDS:
        hint = "Say which one it shall use with `alrb_engine`: " + ", ".join(_ALRB_BINDS)
        raise InvalidInput(source, field, "ALRB chooses the engine, and each wants binds in another way", hint=hint)
    for at, text in enumerate(container.binds):
        _check_bind(text, Engine(container.binding_engine), source, f"{field}[{at}]")


def _check_bind(text: str, engine: Engine, source: str, field: str) -> None:
    try:
        bind = Bind.parse(text)
    except ValueError as problem:
        raise InvalidInput(source, field, f"{text!r}: {problem}", expected="PATH or PATH:PATH INSIDE[:FLAGS]") from None
    if bind.flags and not _BIND_FLAGS[engine].fullmatch(bind.flags):
        what = f"{bind.flags!r} means nothing to {engine}"
        raise InvalidInput(source, field, what, expected=f"flags like {_BIND_FLAGS[engine].pattern}")


def _engine(value: Any, source: str, field: str) -> Engine:
    try:
        return Engine(value)
    except ValueError:
        expected = "one of " + ", ".join(Engine)
        raise InvalidInput(source, field, f"is {value!r}", expected=expected) from None


def _text(options: Mapping[str, object], key: str, source: str, field: str) -> str:
    value = options.get(key, "")
    if not isinstance(value, str) or "\0" in value or "\n" in value:
        raise InvalidInput(source, f"{field}.{key}", f"is {value!r}", expected="a line of text")
    return value


def _texts(options: Mapping[str, object], key: str, source: str, field: str) -> tuple[str, ...]:
    value = options.get(key, ())
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise InvalidInput(source, f"{field}.{key}", f"is {value!r}", expected="a list of texts")
    return tuple(value)
