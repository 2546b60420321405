#!/usr/bin/env python3
"""A double of the pilot: speaks to the server like one, and computes "events" that are files of text.

Kept: the order of requests, one thread that does all communication (while it waits for ranges it reports nothing), the cache,
ranges handed on in the order they came, the layout of the launch directory, the final update, the long sleep after it. Left
out: configuration, AthenaMP and yampl (threads of this process stand for workers), the waits of seconds between requests,
collecting results before they are reported, heartbeats, logs. A crash takes the whole double with it.

Arguments are those of a pilot, of which `-p` is read. `PILOT_DOUBLE` is JSON: `event_s`, `dialect` (form, json), `panda_id`
(asks for another job's ranges), `dead_payload` (exit code of one that dies before it asks: noted in the log, and then the double
sleeps as pilots do), `greedy_mb` and lists of events that go wrong (`fail`, `crash`, `hang`, `bad_output`, and `greedy`: computed
by a process in the worker's directory, which takes memory and does not end by itself; the failure is logged, then reported).
"""

import gzip
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlencode

MODERN, CHUNK = "json", 4


class Double:
    def __init__(self, port, plan):
        self.port, self.plan = port, plan
        self.talking = threading.Lock()
        self.serving = threading.Lock()
        self.cache, self.no_more = [], False
        self.done = 0

    def call(self, name, fields, *, form=False):
        """One request; only one is under way at a time."""
        with self.talking:
            if form or self.plan.get("dialect", "form") == "form":
                body = urlencode(fields).encode()
            else:
                body = gzip.compress(json.dumps(fields).encode())
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            connection.request("POST", f"/server/panda/{name}", body)
            answer = json.loads(connection.getresponse().read())
            connection.close()
            return answer

    def run(self):
        self.job = self.call("getJob", {"siteName": "DOUBLE", "prodSourceLabel": "managed", "node": "here", "mem": 0})
        if self.job["StatusCode"] != 0:
            return 1
        self.directory = Path(f"PanDA_Pilot-{self.job['PandaID']}").absolute()
        self.directory.mkdir()
        for state in ("starting", "running"):
            self.update_job(state)
        if (status := self.plan.get("dead_payload")) is not None:
            (self.directory / "payload.stderr").write_text("Traceback:\nImportError: no uproot\n")
            Path("pilotlog.txt").write_text(f"now | ERROR | terminate | payload finished with error code: {status}\n")
            time.sleep(120)
        workers = [threading.Thread(target=self.work, args=(rank,)) for rank in range(int(os.environ["ATHENA_PROC_NUMBER"]))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.update_job("finished", nEvents=self.done)
        time.sleep(60)
        return 0

    def update_job(self, state, **more):
        self.call("updateJob", {"jobId": self.job["PandaID"], "state": state, **more})

    def next_range(self):
        with self.serving:
            if not self.cache and not self.no_more:
                cores = int(os.environ["ATHENA_PROC_NUMBER"])
                ids = {
                    "pandaID": self.plan.get("panda_id", self.job["PandaID"]),
                    "jobsetID": self.job.get("jobsetID", 0),
                    "taskID": self.job.get("taskID", 0),
                }
                self.cache = self.call("getEventRanges", {**ids, "nRanges": cores}, form=True)["eventRanges"]
                self.no_more = not self.cache
            return self.cache.pop(0) if self.cache else None

    def work(self, rank):
        place = self.directory / "athenaMP-workers-EVNTtoHITS-sim" / f"worker_{rank}"
        place.mkdir(parents=True)
        while (given := self.next_range()) is not None:
            self.compute(place, given)

    def compute(self, place, given):
        number, token = given["startEvent"], given["eventRangeID"]
        time.sleep(self.plan.get("event_s", 0.0))
        if number in self.plan.get("crash", ()):
            os.kill(os.getpid(), 9)
        if number in self.plan.get("greedy", ()):
            self.be_greedy(place, token)
            return
        if number in self.plan.get("hang", ()):
            time.sleep(10_000)
        if number in self.plan.get("fail", ()):
            entry = {"errorCode": 1220, "eventRangeID": token, "eventStatus": "failed"}
            self.call("updateEventRanges", {"version": 0, "eventRanges": json.dumps([entry])}, form=True)
            return
        path = place / f"HITS.{token}"
        content = json.dumps(given).encode()
        path.write_bytes(content)
        entry = {"eventRangeID": token, "eventStatus": "finished", "pfn": str(path), "fsize": len(content)}
        entry["adler32"] = f"{zlib.adler32(content):08x}"
        if number in self.plan.get("bad_output", ()):
            self.spoil(number, path, entry)
        told = [{"esOutput": {"numEvents": 1}, "eventRanges": [entry]}]
        self.call("updateEventRanges", {"version": 1, "eventRanges": json.dumps(told)}, form=True)
        self.done += 1

    def be_greedy(self, place, token):
        """AthenaMP's worker, which says what it has received, and the report of its death."""
        with (place / "AthenaMP.log").open("a") as log:
            log.write(f"INFO Received RangeID={token}\n")
        work = f"block = bytearray({self.plan['greedy_mb']} << 20); import time; time.sleep(3600)"
        subprocess.run([sys.executable, "-I", "-S", "-c", work], cwd=place, check=False)
        words = f"ERR_ATHENAMP_PROCESS {token}: Failed to process event range"
        message = {"id": token, "status": "failed", "output": None, "cpu": None, "wall": None, "message": words}
        with self.talking, Path("pilotlog.txt").open("a") as log:
            log.write(f"now | INFO | handle_out_message | Handling out message: {message}\n")
        entry = {"errorCode": 1220, "eventRangeID": token, "eventStatus": "failed"}
        self.call("updateEventRanges", {"version": 0, "eventRanges": json.dumps([entry])}, form=True)

    def spoil(self, number, path, entry):
        """One of the ways in which an output may not be what it is said to be."""
        way = number % 4
        if way == 0:
            path.unlink()
        elif way == 1:
            path.write_bytes(b"torn")
        elif way == 2:
            entry["adler32"] = "00000001"
        else:
            entry["pfn"] = "/etc/hostname"


def main(argv):
    port = next(word.removeprefix("-p") for word in argv if word.startswith("-p") and word[2:].isdecimal())
    return Double(int(port), json.loads(os.environ.get("PILOT_DOUBLE", "{}"))).run()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
