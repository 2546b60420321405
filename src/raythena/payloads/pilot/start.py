"""The small process between our process guard and the pilot: `python -I -S start.py PROGRAM ARGUMENT...`.

The process guard starts every process as the leader of a session. A pilot must not be one: it makes itself the leader of a
process group, which the kernel refuses to session leaders, and then ends with exit code 0 without running its job. So this
process leads the session, the pilot a process group in it. It reaps whatever the pilot leaves behind, also as the first process
of a PID namespace, and ends with the pilot's exit status (128 and the signal's number if it was killed).

Standard library only: it is run by path, without site packages.
"""

import os
import signal
import sys


def main(argv: list[str]) -> int:
    """Start the program and wait for it; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            os.execvp(argv[0], argv)  # noqa: S606
        except OSError as problem:
            os.write(2, f"{argv[0]}: {problem}\n".encode())
        finally:
            os._exit(127)
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main(sys.argv[1:]))
