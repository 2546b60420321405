"""The files around a command in a container: what is written before it starts, and what its mark tells afterwards.

Rules: scripts are the owner's alone, because they hold values of variables; a mark of an earlier command is removed first.
"""

from __future__ import annotations

import os
from pathlib import Path

from raythena.domain.container import Container
from raythena.domain.container_command import ENTERED, PAYLOAD_SCRIPT, Launch, engine_words
from raythena.domain.job import Job

_OWNER_ONLY = 0o600


def write_scripts(directory: Path, plan: Launch) -> None:
    """Write the scripts of a launch into its directory. Raises OSError."""
    (directory / ENTERED).unlink(missing_ok=True)
    for name, content in plan.files:
        path = directory / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="utf-8") as stream:
            stream.write(content)


def input_directories(job: Job | None) -> tuple[str, ...]:
    """Where the inputs of a job lie, as far as they are on a file system that is mounted here."""
    folders = sorted({os.path.dirname(file.pfn) for file in job.inputs}) if job is not None else []  # noqa: PTH120
    return tuple(path for path in folders if path.startswith("/") and os.path.isdir(path))  # noqa: PTH112


def engine_failed(directory: Path) -> bool:
    """Whether the command of this directory had a script that never ran: then its end is the engine's fault."""
    return (directory / PAYLOAD_SCRIPT).exists() and not (directory / ENTERED).exists()


def engine_complaint(container: Container, how: str, said: str) -> str:
    """What to say of an engine that failed; `how` it ended and what it `said`."""
    return f"the container was not entered, {container.engine} {how}: {engine_words(container.engine, said)}"
