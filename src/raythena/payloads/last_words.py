"""What a program said was wrong, found in what it left behind: one line for an error message, where a log would be too much.

A Python program names its error last, on standard error; Athena's transforms write theirs to standard output, and more after it.
So the last line that looks like an error counts, of the first file that has one; where none does, the last line there is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

READ_BYTES = 256 * 1024
"""Of the end of each file."""
MAX_LENGTH = 500
_ERROR = re.compile(
    r"\b(?:FATAL|CRITICAL|ERROR)\b"
    r"|^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|NotFound|Expired)\b"
    r"|\b(?:[Ee]rror|[Cc]ommand not found|No such file or directory|Permission denied|cannot execute|refused)\b"
    r"|\b(?:Segmentation fault|Bus error|Killed|Aborted|core dumped)\b"
)


def last_words(paths: Iterable[Path]) -> str:
    """The line that says what went wrong, from the files a program wrote; empty when they say nothing."""
    texts = [_lines(path) for path in paths]
    for lines in texts:
        for line in reversed(lines):
            if _ERROR.search(line):
                return line[:MAX_LENGTH]
    return next((lines[-1][:MAX_LENGTH] for lines in texts if lines), "")


def end_of(path: Path, limit_bytes: int, start: int = 0) -> str:
    """The end of a text, of what comes after byte `start`; empty for a file that cannot be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(start, size - limit_bytes))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    """The lines at the end of a file that are not empty; none of a file that is not there."""
    return [line.strip() for line in end_of(path, READ_BYTES).splitlines() if line.strip()]
