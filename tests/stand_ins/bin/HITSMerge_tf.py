#!/usr/bin/env python3
"""HITSMerge_tf.py, the stand-in: reads its arguments as a transform does, puts the inputs one behind the other, reports on it.

What it does wrong is asked for by `--preExec fault:NAME`; see `FAULTS`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

FAULTS = ("exit", "mute", "killed", "nothing", "empty", "count", "report", "garbage", "hang", "child", "log", "damaged")


def main():
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("--inputHITSFile", "--inputHitsFile", nargs="+", required=True)
    parser.add_argument("--outputHITS_MRGFile", "--outputHits_MRGFile", "--outputHITSFile", nargs="+", required=True)
    parser.add_argument("--preExec", nargs="+", action="extend", default=[])
    parser.add_argument("--AMITag")
    given = parser.parse_args()
    inputs = [name for value in given.inputHITSFile for name in value.split(",")]
    (output,) = given.outputHITS_MRGFile
    faults = {value.removeprefix("fault:") for value in given.preExec if value.startswith("fault:")}
    assert faults <= set(FAULTS), faults
    print(f"merging {len(inputs)} files in {Path.cwd()}", flush=True)
    misbehave_before(faults)
    content = b"".join(Path(name).read_bytes() for name in inputs)
    if "damaged" in faults:
        content = b"root" + bytes(400)
    if "nothing" not in faults:
        Path(output).write_bytes(b"" if "empty" in faults else content)
    report(faults, output, len(inputs))
    sys.exit(65 if faults & {"exit", "mute", "log"} else 0)


def misbehave_before(faults):
    if "exit" in faults:
        print("PyJobTransforms: FATAL cannot open the geometry", file=sys.stderr, flush=True)
    if "log" in faults:
        Path("log.HITtoHITS").write_text("AthenaPool: ERROR the story is here\n")
    if "killed" in faults:
        os.kill(os.getpid(), signal.SIGKILL)
    if "child" in faults:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print(f"child {child.pid}", flush=True)
    while "hang" in faults:
        time.sleep(60)


def report(faults, output, count):
    described = {
        "name": output,
        "file_guid": str(uuid.uuid5(uuid.NAMESPACE_URL, output)),
        "nentries": count - 1 if "count" in faults else count,
        "file_size": 1,
    }
    document = {
        "exitCode": 0,
        "exitAcronym": "OK",
        "exitMsg": "OK",
        "files": {"output": [{"type": "HITS", "subFiles": [described]}]},
    }
    if faults & {"report", "exit"}:
        document |= {"exitCode": 65, "exitAcronym": "TRF_EXEC_FAIL", "exitMsg": "Non-zero return code from HITtoHITS (8)"}
    Path("jobReport.json").write_text("{" if "garbage" in faults else json.dumps(document))


if __name__ == "__main__":
    main()
