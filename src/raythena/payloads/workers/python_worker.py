"""What a worker of payload `python` does: call the user's function for one range after the other.

`function(event_range, context)` gets an `EventRange` and a `WorkerContext`, and returns the output as a path (Path or str) of a
file below `context.scratch`, written for this range alone, or as bytes; for a range of several events (`events_per_range`) it
returns a list of bytes, one for each. In a job with streams an output is a mapping of their names to bytes (or, for a single
event, paths). An exception fails the attempt with its traceback;
leaving the process (sys.exit, a crash) kills the worker.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from raythena.domain.ranges import EventRange
from raythena.domain.short_reason import cut_middle
from raythena.payloads.workers.event_server import Event, EventServer, bundled

LONGEST_TRACEBACK = 3000


@dataclass(slots=True)
class WorkerContext:
    """What the user's function is told besides its range."""

    scratch: Path
    """This worker's directory: outputs go below it."""
    options: dict[str, object]
    state: object
    """What the setup function returned; shared by nobody, each worker has its copy."""
    worker: int
    _numbers: count[int] = field(default_factory=count)

    def new_output(self, suffix: str = "") -> Path:
        """A path in the scratch directory that has not been given out before."""
        return self.scratch / f"out-{next(self._numbers)}{suffix}"


Output = Path | str | bytes | dict[str, Path | str | bytes] | list[bytes] | list[dict[str, bytes]]
Function = Callable[[EventRange, WorkerContext], Output]


@dataclass(frozen=True, slots=True)
class Work:
    """The loaded function with what its setup returned."""

    function: Function
    options: dict[str, object]
    state: object


def find_function(name: str) -> Callable[..., Any]:
    """The function `package.module:name`. Raises ImportError, AttributeError, TypeError, or whatever importing it raises."""
    module_name, _, attribute = name.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is not a function but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def load_work(message: dict[str, Any]) -> Work:
    """Import the function and run its setup. Raises whatever they raise."""
    sys.path[:0] = [entry for entry in message["path"] if entry not in sys.path]
    function = find_function(message["function"])
    setup = find_function(message["setup"]) if message["setup"] else None
    options = message["options"]
    return Work(function, options, setup(options) if setup else None)


def serve(work: Work, message: dict[str, Any]) -> int:
    """Answer events until the server drains this worker; the exit status."""
    faulthandler.enable()
    os.environ["RAYTHENA_WORKER"] = str(message["worker"])
    server = EventServer(message["socket"], message["scratch"])
    os.chdir(server.scratch)
    context = WorkerContext(server.scratch, work.options, work.state, server.worker)
    for event in server:
        answer(event, work.function, context)
    return 0


def told(problem: BaseException) -> str:
    """An exception with its traceback; what was raised is always in it, both ends of its message if that is long."""
    raised = cut_middle("".join(traceback.format_exception_only(problem)), LONGEST_TRACEBACK)
    whole = "".join(traceback.format_exception(problem)) if len(raised) < LONGEST_TRACEBACK else ""
    if whole and len(whole) <= LONGEST_TRACEBACK:
        return whole
    frames = "".join(traceback.format_tb(problem.__traceback__))[-LONGEST_TRACEBACK // 2 :].partition("\n")[2]
    return f"Traceback (most recent call last):\n  ...\n{frames}{raised}"


def _range_of(event: Event) -> EventRange:
    return EventRange(event.id, event.lfn, event.pfn, event.guid, event.first, event.last, seeds=event.seeds, point=event.point)


def answer(event: Event, function: Function, context: WorkerContext) -> None:
    """Compute one event and report it."""
    try:
        output = function(_range_of(event), context)
    except Exception as problem:  # noqa: BLE001
        # Whatever the user's function raises fails this attempt, with its traceback, and nothing else.
        event.failed(told(problem))
        return
    if isinstance(output, bytes | bytearray | memoryview):
        try:
            event.done_bytes(bytes(output))
        except OSError as problem:
            event.failed(f"the output could not be written: {problem}")
    elif isinstance(output, Path | str):
        event.done(output)
    elif isinstance(output, list):
        _answer_each(event, output)
    elif isinstance(output, dict):
        _answer_streams(event, output)
    else:
        event.failed(f"the function returned {type(output).__name__}; expected a path, bytes, a list of bytes, or a mapping")


def _answer_streams(event: Event, outputs: dict[str, Any]) -> None:
    """The output of each stream."""
    strangers = {type(each).__name__ for each in outputs.values() if not isinstance(each, bytes | Path | str)}
    if strangers:
        event.failed(
            f"the function returned a mapping to {', '.join(sorted(strangers))}; expected bytes or a path for each stream"
        )
        return
    try:
        event.done_streams(outputs)
    except OSError as problem:
        event.failed(f"the outputs of streams could not be put together: {problem}")


def _bundled(output: object) -> object:
    """The streams of one event of several as one output."""
    if isinstance(output, dict) and all(isinstance(content, bytes) for content in output.values()):
        return bundled(output)
    return output


def _answer_each(event: Event, outputs: list[Any]) -> None:
    """Outputs of the events of a range, one for each."""
    expected = event.last - event.first + 1
    if len(outputs) != expected:
        event.failed(f"the function returned {len(outputs)} outputs for {expected} events, {event.first} to {event.last}")
        return
    outputs = [_bundled(each) for each in outputs]
    strangers = {type(each).__name__ for each in outputs} - {"bytes"}
    if strangers:
        event.failed(f"the function returned a list with {', '.join(sorted(strangers))}; expected bytes for each event")
        return
    try:
        event.done_each(outputs)
    except OSError as problem:
        event.failed(f"the outputs could not be written: {problem}")
