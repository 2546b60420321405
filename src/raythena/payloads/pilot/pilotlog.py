"""What the pilot's own log says of events before anybody else does.

The pilot writes down each message of AthenaMP as it takes it, about six seconds before it reports the range to the server, and
with what the report leaves out: the CPU and wall time of the event, and why it failed. So results are taken from here first. It
also writes down when the payload's process is gone, minutes before it says so to the server, and when it has reported everything
it is going to report; why it will never ask for events (a proxy that cannot be checked, no yampl), and why it ended its job
early, both in sentences of its own. Nothing here is needed for a job to run; when a release words its log differently, results
come with the reports, times are estimated, failures have no text, and a payload that dies at its start is noticed late.
"""

from __future__ import annotations

import ast
import re
import threading
from dataclasses import dataclass
from pathlib import Path

NAME = "pilotlog.txt"
_MESSAGE = re.compile(rb"Handling out message: (\{.*\})")
_OVER = re.compile(rb"ES \w+ executor finished")
_GONE = re.compile(
    rb"(?:payload finished (?:successfully|with error code:)|Payload process is not alive:)(?: (-?\d{1,10}))?(?:\W*$|, Traceback)"
)
"""Written once the process of the payload is found gone, by the thread that talks to it, before it cleans up."""
_REFUSAL = re.compile(
    rb"(voms proxy certificate check failure.*)|((?:ModuleNotFoundError|ImportError): .{0,200}\byampl\b.*)"
    rb"|[Mm]issing \d+ required positional argument"
)
"""Why this pilot will never ask for events. No pattern here may begin with anything repeated: lines can be a megabyte long."""
_COMPLAINT = re.compile(rb"(PilotException caught in the main loop: .*)|^details: \(?[\"'](Failed to .*?)[\"'],?\)?$")
"""Why it ends its job, by the thread that talks to AthenaMP."""
_STAMP = re.compile(r"^[\d-]+ [\d:,]+ *\| *\w+ *\| *")
_SENTENCE_LENGTH = 600
_CHUNK = 4 * 1024 * 1024
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One message of AthenaMP. Times are seconds, 0 when unknown."""

    token: str
    finished: bool
    path: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    text: str = ""
    """The message itself, of a failure."""


class PilotLog:
    """Reads a growing log from where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.facts: dict[str, EventFacts] = {}
        """By token."""
        self.over = False
        """Everything the pilot was going to report is reported."""
        self.payload_status: int | None = None
        """How the payload's process ended; None as long as the pilot has not noticed that it has."""
        self.refusal = ""
        """Why the pilot will never ask for events, in its own words; empty while nothing says so."""
        self.complaint = ""
        """Why it ends its job early, in its own words."""
        self._new: list[EventFacts] = []
        self._reading = threading.Lock()

    def take_new(self) -> list[EventFacts]:
        """What was read since the last call."""
        with self._reading:
            new, self._new = self._new, []
        return new

    def read(self) -> None:
        """Take in what was written since the last time. A log that is not there is empty. Any thread may call this."""
        try:
            with self._reading, self._path.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(_CHUNK):
                    self._offset += len(chunk)
                    self._take(chunk)
        except OSError:
            return

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-_LONGEST:]
        for line in lines:
            if found := _MESSAGE.search(line):
                self._note(found[1])
            elif _OVER.search(line):
                self.over = True
            elif found := _GONE.search(line):
                self.payload_status = int(found[1] or 0)
            elif not self.refusal and (found := _REFUSAL.search(line)):
                self.refusal = _sentence(found)
            elif found := _COMPLAINT.search(line):
                self._complain(_sentence(found))

    def _complain(self, sentence: str) -> None:
        """The first exception of the main loop, and the details of it that come last."""
        if not self.complaint:
            self.complaint = sentence if "main loop" in sentence else ""
        elif "main loop" not in sentence:
            first = self.complaint.partition("; ")[0]
            self.complaint = f"{first}; {sentence}"

    def _note(self, text: bytes) -> None:
        try:
            message = ast.literal_eval(text.decode("utf-8", "replace"))
            token = str(message["id"])
            finished = message.get("status") == "finished"
            cpu_s, wall_s = _seconds(message.get("cpu")), _seconds(message.get("wall"))
        except (ValueError, SyntaxError, KeyError, AttributeError, RecursionError, MemoryError):
            return  # a line that looks like one of ours and is none
        output, words = str(message.get("output", "")), str(message.get("message", ""))
        facts = EventFacts(token, finished, output, cpu_s, wall_s, words)
        if token not in self.facts:
            self._new.append(facts)
        self.facts[token] = facts


def _sentence(found: re.Match[bytes]) -> str:
    """What a line says, without its time stamp: the part that was looked for, or all of it."""
    text = next((part for part in found.groups() if part is not None), found.string).decode("utf-8", "replace")
    return _STAMP.sub("", text).strip(" ,")[:_SENTENCE_LENGTH]


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        return 0.0
    return seconds if 0.0 <= seconds < 1e9 else 0.0
