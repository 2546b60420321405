"""A worker: computes one event after the other in a directory of its own, and reports each to the scatterer.

Its log says which range it computes, as the real one's does. Like the real one it looks for its output by the range id, anywhere
in the paths of its directory: an id that is part of another id finds the other's output too, and both are reported.
"""

import os
import signal
import sys
import time
from pathlib import Path

import yampl
from athenamp_stand_in.content import event_numbers, hits_file
from athenamp_stand_in.plan import MISDEEDS

A_LONG_TIME_S = 86_400
_ERRORS = ("not_found", "seek", "process", "no_output", "bad_input")


class Worker:
    """Worker number `rank`, in a process of its own."""

    def __init__(self, shop, rank):
        self._plan = shop.plan
        self._shop = shop
        self._place = shop.top / f"worker_{rank}"
        self._place.mkdir()
        self._log_to(self._place / "AthenaMP.log")
        os.chdir(self._place)
        self._say(f"Logs redirected in the AthenaMP event worker PID={os.getpid()}")
        self._scatterer = yampl.ClientSocket(shop.worker_channel, "local")

    def run(self):
        """Work until the scatterer lets go."""
        while True:
            self._tell("ready")
            _, answer = self._scatterer.recv_raw()
            if len(answer) == 1:
                return
            range_id, *place, first, last = answer.decode().split(",")
            self._say(f"Received RangeID={range_id}")
            self._compute(range_id, place[0].removeprefix("PFN:") if place else self._shop.inputs[0], int(first), int(last))

    def _compute(self, range_id, pfn, first, last):
        begin, cpu = time.monotonic(), time.process_time()
        self._plan.note("begin", range=range_id, event=first)
        misdeed = self._plan.misdeed(pfn, first)
        problem = self._set_input(pfn) or (MISDEEDS[misdeed].partition(": ")[2] if misdeed in _ERRORS else "")
        numbers = self._shop.numbers.get(pfn, ())
        if not problem and not 1 <= first <= last <= len(numbers):
            problem = "Not found in the input file"
        if problem:
            self._tell("error", problem)
            return
        time.sleep(sum(self._plan.seconds(event) for event in range(first, last + 1)))
        self._die_of(misdeed)
        output = self._place / f"{self._shop.output}.{range_id}"
        output.write_bytes(b"".join(hits_file(self._shop.template, numbers[event - 1]) for event in range(first, last + 1)))
        self._plan.note("end", range=range_id, event=first)
        self._report(range_id, output, misdeed, time.process_time() - cpu, time.monotonic() - begin)

    def _set_input(self, pfn):
        """Why the file cannot be opened, or ""."""
        numbers = self._shop.numbers
        if pfn in numbers:
            return ""
        if any(Path(pfn).exists() and Path(pfn).samefile(known) for known in numbers):
            self._say("FATAL: the GUID of this file is in the catalogue already, with another PFN")
            os._exit(1)
        try:
            numbers[pfn] = event_numbers(pfn)
        except Exception as problem:  # noqa: BLE001 (whatever uproot makes of a file that is none)
            self._say(f"ERROR {pfn}: {problem}")
            return "Failed to set input file"
        return ""

    def _die_of(self, misdeed):
        if misdeed == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif misdeed == "die":
            self._kill_everybody()
        elif misdeed == "hang":
            self._say("and now for something completely different")
            time.sleep(A_LONG_TIME_S)
        elif misdeed == "greedy":
            block = bytearray(self._plan.greedy_mb << 20)
            time.sleep(self._plan.greedy_s)
            del block

    def _kill_everybody(self):
        os.kill(self._shop.mother, signal.SIGKILL)
        time.sleep(A_LONG_TIME_S)

    def _report(self, range_id, output, misdeed, cpu_s, wall_s):
        times = f"CPU:{cpu_s:.3f},WALL:{wall_s:.3f}"
        ends = {"wrong_id": f"ID:nobody-knows-{os.getpid()},{times}", "no_id": times}
        end = ends.get(misdeed, f"ID:{range_id},{times}")
        if misdeed == "die_late":
            self._kill_everybody()
        report = ",".join([*self._outputs(range_id, output, misdeed), end])
        if misdeed == "garbage":
            self._tell("extra", f"\udcff\udcfe {{[ {range_id[::-1]}\n\0 nonsense")
        elif misdeed == "duplicate":
            self._tell("extra", report)
        if misdeed == "silent":
            self._tell("lost")
            return
        self._tell("report", report)
        if misdeed == "exit_after":
            self._tell("exit")

    def _outputs(self, range_id, output, misdeed):
        """Paths to report, after doing to the output what is to be done."""
        if misdeed == "two_files":
            return [str(output), str(self._copied(output))]
        if misdeed == "elsewhere":
            return ["/etc/passwd"]
        paths = [str(path) for path in sorted(self._place.iterdir()) if range_id in str(path)]
        if misdeed == "missing":
            output.unlink()
        elif misdeed == "empty":
            output.write_bytes(b"")
        elif misdeed == "truncated":
            os.truncate(output, output.stat().st_size // 2)
        return paths

    def _copied(self, output):
        other = output.with_name(f"AOD.{output.name}")
        other.write_bytes(output.read_bytes())
        return other

    def _tell(self, kind, text=""):
        self._scatterer.send_raw(f"{os.getpid()} {kind} {text}".encode("utf-8", "surrogateescape"))

    def _say(self, text):
        print(f"AthMpEvtLoopMgr.Worker  INFO {text}", flush=True)

    @staticmethod
    def _log_to(path: Path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        sys.stdout.flush()
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
