"""The scatterer: the one process of AthenaMP that talks to whoever hands out event ranges.

It behaves as the real one does, also where that is awkward:

- it asks for a range when a worker is free (or before, in caching mode) and then waits for the answer, for ever; while it waits,
  no result of any other worker gets through;
- it takes the JSON apart at commas, and knows no more of it than that;
- after "No more events" it frees its workers one by one, passes on what they still report, and ends;
- a worker that died is reported as a range that could not be processed.
"""

import contextlib
import os
import time

import yampl

EXIT_NOW = 77
"""Exit status by which the scatterer asks the mother to end everything."""
READY, OVER = b"Ready for events", b"No more events"
FREED = b"\0"
_NAP_S = 0.001


class Scatterer:
    """Between one channel and many workers."""

    def __init__(self, plan, channel, worker_channel, workers, failed_pids):
        self._plan = plan
        self._workers = workers
        self._failed_pids = failed_pids
        self._server = yampl.ServerSocket(worker_channel, "local")
        self._outside = yampl.ClientSocket(channel, "local")
        self._ranges = {}
        self._pending = 0
        self._waiting = 0

    def run(self):
        """Work until there are no more events and everything is reported."""
        while True:
            if not self._plan.caching:
                self._await_worker()
            self._tell(READY)
            self._plan.note("ready")
            _, answer = self._outside.recv_raw()
            text = answer.decode().partition("\n")[0]
            self._plan.note("answer", text=text[:200])
            if text.encode() == OVER:
                break
            self._scatter(text)
        self._finish()

    def _scatter(self, text):
        known = _taken_apart(text)
        lacking = {"eventRangeID", "startEvent", "lastEvent", "GUID"} - known.keys()
        if lacking or self._misdeed(known) == "parse":
            self._tell(f'ERR_ATHENAMP_PARSE "{text[2:-2]}": Wrong format'.encode())
            return
        first, last = int(known["startEvent"]), int(known["lastEvent"])
        if not known["eventRangeID"] or not known["GUID"] or last < first:
            self._tell(f'ERR_ATHENAMP_PARSE "{text[2:-2]}": Wrong values of range fields'.encode())
            return
        self._await_worker()
        place = f"PFN:{known['PFN']}," if "PFN" in known else ""
        self._server.send_raw(f"{known['eventRangeID']},{place}{first},{last}".encode())
        self._ranges[self._waiting] = known["eventRangeID"]
        self._pending += 1
        self._waiting = 0

    def _misdeed(self, known):
        with contextlib.suppress(KeyError, ValueError):
            if self._plan.misdeeds.get(int(known["startEvent"])) == "parse":
                return self._plan.misdeed(known.get("PFN", ""), int(known["startEvent"]))
        return ""

    def _finish(self):
        if self._waiting:
            self._server.send_raw(FREED)
        for _ in range(self._workers - bool(self._waiting)):
            self._waiting = 0
            self._await_worker()
            self._server.send_raw(FREED)
        self._waiting = 0
        while self._pending > 0:
            self._listen()

    def _await_worker(self):
        while not self._waiting:
            self._listen()

    def _listen(self):
        """Take one message of a worker, if there is one, and one death."""
        size, message = self._server.try_recv_raw()
        if size != -1:
            self._hear(message.decode("utf-8", "surrogateescape"))
        with contextlib.suppress(BlockingIOError):
            self._bury(int.from_bytes(os.read(self._failed_pids, 4), "little"))
        time.sleep(_NAP_S)

    def _hear(self, text):
        pid, _, what = text.partition(" ")
        kind, _, rest = what.partition(" ")
        if kind == "ready":
            self._waiting = int(pid)
        elif kind == "error":
            self._pending -= 1
            self._tell(f"ERR_ATHENAMP_PROCESS {self._ranges[int(pid)]}: {rest}".encode())
        elif kind == "report":
            self._pending -= 1
            self._tell(rest.encode())
        elif kind == "extra":
            self._tell(rest.encode("utf-8", "surrogateescape"))
        elif kind == "exit":
            os._exit(EXIT_NOW)
        else:
            self._pending -= 1  # a report that got lost

    def _bury(self, pid):
        self._pending -= 1
        if pid in self._ranges:
            self._tell(f"ERR_ATHENAMP_PROCESS {self._ranges[pid]}: Failed to process event range".encode())

    def _tell(self, message):
        self._outside.send_raw(message)


def _taken_apart(text):
    """Keys and values of the one range in the list, the way AthenaMP finds them."""
    pairs = (part.partition(":") for part in text.removeprefix("[{").removesuffix("}]").split(","))
    return {_bare(key): _bare(value) for key, _, value in pairs}


def _bare(word):
    word = word.strip(" ")
    if word.startswith("u'"):
        return word[2:].removesuffix("'")
    return word[1:].removesuffix('"') if word.startswith('"') else word
