"""The transform itself, which is also AthenaMP's mother process: starts scatterer and workers, and replaces workers that die."""

import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athenamp_stand_in import content
from athenamp_stand_in.arguments import Refused, parse
from athenamp_stand_in.plan import read_plan
from athenamp_stand_in.scatterer import EXIT_NOW, Scatterer
from athenamp_stand_in.worker import Worker

PR_SET_PDEATHSIG = 1
TOP = "athenaMP-workers-EVNTtoHITS-sim"


@dataclass(frozen=True)
class Shop:
    """What all workers share."""

    plan: Any
    mother: int
    top: Path
    inputs: tuple
    output: str
    worker_channel: str
    numbers: dict
    template: Any


class Mother:
    """The process everything else is a child of."""

    def __init__(self, arguments, plan):
        self._arguments = arguments
        self._plan = plan
        self._ranks = 0
        self._children = set()

    def run(self):
        """Start everything and see it through; the exit status."""
        place = Path.cwd() / TOP
        place.mkdir()
        channel = f"processors-{os.getpid()}"
        numbers = {path: content.event_numbers(path) for path in self._arguments.inputs}
        template = content.hits_mould()
        time.sleep(self._plan.start_s)
        inputs, output = self._arguments.inputs, self._arguments.output
        shop = Shop(self._plan, os.getpid(), place, inputs, output, channel, numbers, template)
        failed_pids, self._failed_pids = os.pipe()
        os.set_blocking(failed_pids, False)
        scatterer = self._fork(self._scatter, channel, failed_pids)
        for _ in range(self._arguments.processes):
            self._start_worker(shop)
        return self._watch(scatterer, shop)

    def _scatter(self, channel, failed_pids):
        Scatterer(self._plan, self._arguments.channel, channel, self._arguments.processes, failed_pids).run()

    def _start_worker(self, shop):
        rank, self._ranks = self._ranks, self._ranks + 1
        self._children.add(self._fork(lambda: Worker(shop, rank).run()))

    def _fork(self, work, *arguments):
        sys.stdout.flush()
        mother = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() == mother:
                work(*arguments)
                status = 0
        except ConnectionError as problem:
            print(f"AthenaMP stand-in: {problem}", flush=True)
        finally:
            os._exit(status)

    def _watch(self, scatterer, shop):
        scattering = True
        while scattering or self._children:
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            if pid == scatterer:
                if code:
                    self._end_all()
                    return self._plan.exit if code == EXIT_NOW else 1
                scattering = False
            elif code and scattering:
                self._children.discard(pid)
                os.write(self._failed_pids, pid.to_bytes(4, "little"))
                self._start_worker(shop)
            else:
                self._children.discard(pid)
        time.sleep(self._plan.end_s)
        return self._plan.exit

    def _end_all(self):
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)


def write_job_report(arguments, status):
    """jobReport.json, as short as it can be."""
    outputs = [{"type": "HITS", "subFiles": [{"name": arguments.output}]}]
    document = {"name": "Sim_tf", "reportVersion": "2.1.2", "cmdLine": " ".join(sys.argv), "exitCode": status, "exitMsg": ""}
    document |= {"exitAcronym": "OK" if status == 0 else "STAND_IN", "files": {"input": [], "output": outputs}, "executor": []}
    Path("jobReport.json").write_text(json.dumps(document), encoding="utf-8")


def main():
    """Run the transform; the exit status."""
    plan = read_plan(os.environ)
    plan.note("start")
    try:
        arguments = parse(sys.argv[1:], os.environ)
        if not arguments.event_service:
            raise Refused(65, "only --eventService=True is known here")
    except Refused as refusal:
        print(f"Sim_tf.py (stand-in): {refusal}", file=sys.stderr)
        return refusal.code
    status = Mother(arguments, plan).run()
    if plan.job_report:
        write_job_report(arguments, status)
    plan.note("exit", status=status)
    return status
