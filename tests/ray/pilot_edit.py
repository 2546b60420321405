"""What a real pilot makes of job parameters, by its own code: reads a JSON list of texts, writes one of lists of words.

Run with the directory of a release as the argument. Only the editing is the pilot's: nothing is started but bash, which divides
the finished command into words as it would on a node.
"""

import json
import logging
import os
import subprocess
import sys

CHANNEL = "EventService_EventRanges_4711"
SCRIPT = 'Sim_tf.py() { printf \'%s\\0\' "$PILOT_EVENTRANGECHANNEL" "$@"; }\n'


class Thread:
    def get_yampl_socket_name(self):
        return CHANNEL

    def stop(self):
        pass


def words_of(text, job_class, process_class):
    job, process = job_class.__new__(job_class), process_class.__new__(process_class)
    process._ESProcess__message_thread = Thread()
    cleaned = job.clean__jobparams(None, text)
    executable = process.init_yampl_socket(f"export ATHENA_PROC_NUMBER=2; Sim_tf.py {cleaned}")
    environment = {name: value for name, value in os.environ.items() if name != "PILOT_EVENTRANGECHANNEL"}
    run = subprocess.run(["/bin/bash", "-c", SCRIPT + executable], capture_output=True, check=False, env=environment)
    return run.stdout.decode().split("\0")[:-1] if run.returncode == 0 else None


def main():
    sys.path.insert(0, sys.argv[1])
    os.environ["PILOT_USER"] = "atlas"
    logging.disable(logging.CRITICAL)
    from pilot.eventservice.esprocess.esprocess import ESProcess
    from pilot.info.jobdata import JobData

    json.dump([words_of(text, JobData, ESProcess) for text in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
