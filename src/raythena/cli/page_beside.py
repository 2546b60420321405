"""The page of a job beside the command that runs it: a process of its own, which ends with the command, however that ends.

Whatever becomes of the page, the job is none the worse: it is started and told of, and nothing ever waits for it. It ends when
its standard input does, which a command that was killed closes too.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_END_LIMIT_S = 5.0


@contextmanager
def page_beside(task: Path, tell: Callable[[str], object], visit: Callable[[str], str] | None = None) -> Iterator[None]:
    """Inside the block there is a page about the task; `tell` is told where, as soon as it is there.

    `visit` is then given the address, and what it says is told too.
    """
    command = [sys.executable, "-m", "raythena.cli", "monitor", str(task), "--until-input-ends"]
    try:
        # in a session of its own, so that Ctrl-C, which means the job, does not end it
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
    except OSError as problem:
        tell(f"there is no page: {problem.strerror}")
        yield
        return
    threading.Thread(target=_tell_address, args=(server, tell, visit), daemon=True).start()
    try:
        yield
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(_END_LIMIT_S)


def _tell_address(server: subprocess.Popen[str], tell: Callable[[str], object], visit: Callable[[str], str] | None) -> None:
    address = server.stdout.readline().strip() if server.stdout is not None else ""
    if not address:
        return
    tell(f"page: {address}")
    if visit is not None and (word := visit(address)):
        tell(word)
