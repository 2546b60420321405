"""The small process between our process guard and the pilot: `python -I -S start.py PROGRAM ARGUMENT...`.

The process guard starts every process as the leader of a session. A pilot must not be one: it makes itself the leader of a
process group, which the kernel refuses to session leaders, and then ends with exit code 0 without running its job. So this
process leads the session, the pilot a process group in it. It reaps whatever the pilot leaves behind, also as the first process
of a PID namespace, and ends with the pilot's exit status (128 and the signal's number if it was killed).

With `--private DIRECTORY` in front it also gives the pilot a `/tmp` and a `/dev/shm` of its own, in the mount namespace it was
started in: pilots in PID namespaces have the same process numbers, name their channel to AthenaMP by them, and yampl keeps
channels there. Everything else in `/tmp` stays where it is; `DIRECTORY` holds the new `/tmp`.

Standard library only: it is run by path, without site packages.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

TMP, SHM = Path("/tmp"), Path("/dev/shm")  # noqa: S108  # where yampl keeps its channels
CHANNEL_PREFIX = "fifo_"
"""How their names in /tmp begin."""
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC = 2, 4, 4096, 16384
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CANNOT_ISOLATE_STATUS = 126


def isolate(place: Path) -> None:
    """Give this process and its descendants a /tmp and a /dev/shm of their own. Raises OSError."""
    private = place / "tmp"
    private.mkdir()
    private.chmod(0o1777)  # as /tmp is
    for path in list(TMP.iterdir()):
        if not path.name.startswith(CHANNEL_PREFIX):
            _show(path, private / path.name)
    _mount(str(private), str(TMP), "", MS_BIND | MS_REC)
    _mount("tmpfs", str(SHM), "tmpfs", MS_NOSUID | MS_NODEV)
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # the pilot needs no privileges


def _show(path: Path, target: Path) -> None:
    """Have something in /tmp be seen in the new one, unless it is just being removed."""
    try:
        if path.is_symlink():
            target.symlink_to(path.readlink())
            return
        target.mkdir() if path.is_dir() else target.touch()
        _mount(str(path), str(target), "", MS_BIND | MS_REC)
    except OSError as problem:
        if os.path.lexists(path):
            os.write(2, f"{path} is not seen by the pilot: {problem}\n".encode())


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def main(argv: list[str]) -> int:
    """Start the program and wait for it; its exit status."""
    if argv[:1] == ["--private"]:
        try:
            isolate(Path(argv[1]))
        except OSError as problem:
            os.write(2, f"no private /tmp and /dev/shm: {problem}\n".encode())
            return CANNOT_ISOLATE_STATUS
        argv = argv[2:]
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
