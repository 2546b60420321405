"""Where modules are imported from: never from the directory a command happens to be started in.

People start commands where their work lies, and a `numpy.py` or `secrets.py` of theirs must not become ours, nor Ray's. Python
looks into the current directory when it is told to by `python -m`, by `python -c`, or by an empty or relative entry of
PYTHONPATH, which every process we start would inherit. Rules: only what stands for the current directory is taken away; other
relative entries are made absolute, so that they mean the same everywhere; a directory that holds this very program stays. What a
job file names is none of this module's business: payloads are given their paths by it.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, MutableSequence

PYTHONPATH = "PYTHONPATH"


def leave_current_directory(path: MutableSequence[str], environ: MutableMapping[str, str], directory: str, home: str) -> None:
    """Take `directory` out of `path` (`sys.path`) and out of PYTHONPATH in `environ`; `home` is where this program lies."""
    told = environ.get(PYTHONPATH)
    entries = [] if told is None else told.split(os.pathsep)
    before = {_absolute(entry, directory) for entry in entries}
    if path and (not path[0] or path[0] == directory):
        before.add(directory)
    if directory in before and directory != home:
        path[:] = [entry for entry in path if _absolute(entry, directory) != directory]
    if told is not None:
        kept = [_absolute(entry, directory) for entry in entries]
        environ[PYTHONPATH] = os.pathsep.join(entry for entry in kept if entry != directory or directory == home)


def _absolute(entry: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, entry))  # noqa: PTH118 (pathlib is not imported before this is done)
