"""Log files of our own processes, in the task directory."""

from __future__ import annotations

import logging
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def log_to_file(path: Path, level: int = logging.INFO) -> None:
    """Send the log of this process's `raythena` loggers to a file, appending. Further calls replace the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger("raythena")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
