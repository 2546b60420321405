"""What the stand-in is told to do, and to do wrong: JSON in `ATHENAMP_STAND_IN`, or in the file it names.

    event_s        seconds an event sleeps (0)
    spread         0 to 1: event times lie this fraction around the mean, decided by the event number (0)
    start_s        seconds before the first "Ready for events" (0)
    end_s          seconds between the last message and the exit (0)
    exit           exit status at the end, all events done (0)
    job_report     write jobReport.json (false: real transforms write none in event-service mode)
    caching        the scatterer asks for a range before a worker is free (false)
    greedy_mb      megabytes that greedy events take (0)
    greedy_s       seconds that greedy events last (0)
    times          file that every process appends its times to, as JSON lines
    once           directory: an event misbehaves only the first time, on whichever node

and lists of events (numbers counted from 1 within the file, as in `startEvent`) that go wrong; `MISDEEDS` says how.
"""

import json
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

VARIABLE = "ATHENAMP_STAND_IN"

MISDEEDS = {
    "parse": "the scatterer answers ERR_ATHENAMP_PARSE",
    "not_found": "ERR_ATHENAMP_PROCESS: Not found in the input file",
    "seek": "ERR_ATHENAMP_PROCESS: Seek failed",
    "process": "ERR_ATHENAMP_PROCESS: Failed to process event range",
    "no_output": "ERR_ATHENAMP_PROCESS: Failed to make output file",
    "bad_input": "ERR_ATHENAMP_PROCESS: Failed to set input file",
    "crash": "the worker dies; AthenaMP reports it and starts another",
    "die": "everything dies at once, before the output is written",
    "die_late": "everything dies at once, when the output is written and not yet reported",
    "hang": "the event never ends",
    "greedy": "the event takes memory while it lasts: see greedy_mb, greedy_s",
    "exit_after": "the transform exits right after the event's report",
    "two_files": "two files in one message",
    "missing": "the reported file is not there",
    "empty": "the reported file has no content",
    "truncated": "the reported file ends in the middle",
    "elsewhere": "the reported file is not in a worker's directory",
    "wrong_id": "the report names a range that was never given out",
    "no_id": "the report names no range",
    "duplicate": "the report is sent twice",
    "garbage": "bytes that are no message come before the report",
    "silent": "the output is written and never reported",
}


@dataclass(frozen=True)
class Plan:
    """The plan, read."""

    event_s: float = 0.0
    spread: float = 0.0
    start_s: float = 0.0
    end_s: float = 0.0
    exit: int = 0
    job_report: bool = False
    caching: bool = False
    greedy_mb: int = 0
    greedy_s: float = 0.0
    times: str = ""
    once: str = ""
    misdeeds: dict = field(default_factory=dict)

    def misdeed(self, pfn, event):
        """What goes wrong with an event this time, or ""."""
        name = self.misdeeds.get(event, "")
        if not name or not self.once:
            return name
        marker = Path(self.once, f"{name}-{Path(pfn).name}-{event}")
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return ""
        return name

    def seconds(self, event):
        """How long an event lasts."""
        return self.event_s * (1.0 + self.spread * ((event * 7919) % 2001 / 1000 - 1))

    def note(self, what, **facts):
        """Append a line to the file of times."""
        if not self.times:
            return
        line = json.dumps({"at": time.time(), "what": what, "pid": os.getpid(), **facts}) + "\n"
        descriptor = os.open(self.times, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def read_plan(environment):
    """The plan the environment holds or names. Raises ValueError for words it does not know."""
    text = environment.get(VARIABLE, "").strip() or "{}"
    if not text.startswith("{"):
        text = Path(text).read_text(encoding="utf-8")
    document = json.loads(text)
    misdeeds = {int(event): name for name in MISDEEDS for event in document.pop(name, ())}
    if unknown := document.keys() - {one.name for one in fields(Plan)}:
        raise ValueError(f"{VARIABLE} has {sorted(unknown)}, which nobody knows")
    return Plan(**document, misdeeds=misdeeds)
