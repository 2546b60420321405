"""Payload functions and programs that behave as the conformance suite asks."""

import ctypes
import json
import os
import sys
import time
from pathlib import Path

BEHAVIOURS = ("fail", "crash", "hang", "bad_output")


def act(number, options):
    """Misbehave if `number` is to; the kind of misbehaviour that is left to the caller, or None."""
    kind = next((name for name in BEHAVIOURS if number in options.get(name, ())), None)
    if kind == "crash":
        ctypes.string_at(0)
    if kind == "hang":
        time.sleep(3600)
    time.sleep(options.get("event_s", 0.0))
    return kind


def setup(options):
    return {"pid": os.getpid(), "options": options}


def process(event_range, context):
    number = event_range.first_event
    kind = act(number, context.options)
    if kind == "fail":
        raise ValueError(f"event {number} is impossible")
    if kind == "bad_output":
        return context.new_output(".never-written")
    text = json.dumps({"EventNumber": number, "setup_pid": context.state["pid"], "pid": os.getpid()})
    if number % 2:
        return text.encode()
    path = context.new_output(".json")
    path.write_text(text)
    return path


def main():
    from raythena.payloads.workers.event_server import EventServer

    options = json.loads(sys.argv[1])
    for event in EventServer():
        kind = act(event.first, options)
        if kind == "fail":
            event.failed("impossible, in line 1\nand 2")
        elif kind == "bad_output":
            event.done("/etc/passwd")
        elif event.first % 2:
            event.done_bytes(b"EventNumber %d" % event.first)
        else:
            path = event.new_output()
            Path(path).write_text(f"EventNumber {event.first}")
            event.done(path)


if __name__ == "__main__":
    main()
