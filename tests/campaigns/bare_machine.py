"""The two commands on bare machines: a root with a Python, git and make, and nothing else that we need.

    bare_machine.py [--quick] [--keep] [MACHINE ...]

Each machine is one Python that the package declares, in a root of its own below `build/bare`, made by debootstrap from Debian's
archive. What is committed is cloned into it, `make demo` and `make test` are run there as a newcomer would run them, and their
last lines and times are shown. With `--quick` it is `make demo` and the unit tests in which Pythons and machines differ most. No
Debian has Python 3.12: it is taken from this machine, if it has one, and put into a root of Debian 12.

Takes root, debootstrap and the network. Exit code 77: this cannot be tried here. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "bare"
CANNOT = 77
ARCHIVE = "http://deb.debian.org/debian"
PACKAGES = ("git", "make", "ca-certificates")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""Files of this machine without which the network or the package index may be out of reach."""
QUICK = "tests/unit/house tests/unit/storage tests/unit/payloads/pilot"
LIMIT_S = 5400.0
SHOWN_LINES = 12

ENTER = """
set -e
mount --rbind /dev "$1/dev" && mount --make-rslave "$1/dev"
mount --rbind /sys "$1/sys" && mount --make-rslave "$1/sys"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
exec chroot "$1" sh -c 'cd /root/raythena && exec sh -c "$1"' sh "$2"
"""
"""What becomes a machine: devices, processes of its own, shared memory. The mounts end with the process that made them."""


@dataclass(frozen=True)
class Machine:
    """A Debian, and the Python on it; `suffix` is that of an interpreter of this machine that is put into the root."""

    suite: str
    python: str
    suffix: str = ""


MACHINES = {
    "debian12": Machine("bookworm", "3.11"),
    "python3.12": Machine("bookworm", "3.12", suffix="3.12"),
    "debian13": Machine("trixie", "3.13"),
}


class Cannot(Exception):
    """Something is missing here without which a machine cannot be made."""


def make_root(machine: Machine, root: Path) -> None:
    """A root with Python, git and make, the project cloned into it, and the way to the network. Raises Cannot."""
    packages = (*PACKAGES, *(("libssl3", "libsqlite3-0", "libffi8", "libbz2-1.0") if machine.suffix else ("python3-venv",)))
    prefix = prefix_of(machine.suffix) if machine.suffix else None
    run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", machine.suite, root, ARCHIVE)
    if prefix:
        shutil.copytree(prefix, root / prefix.relative_to("/"), symlinks=True)
        (root / "usr/local/bin/python3").symlink_to(prefix / "bin" / f"python{machine.suffix}")
    for path in map(Path, NETWORK):
        if path.exists():
            shutil.copy(path, root / path.relative_to("/"))
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, root / "root/raythena")


def prefix_of(version: str) -> Path:
    """Where this machine's Python of a version is installed. Raises Cannot."""
    command = f"python{version}"
    found = subprocess.run([command, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=False)
    if found.returncode or (prefix := Path(found.stdout.strip())) == Path("/usr"):
        raise Cannot(f"no {command} in a directory of its own on this machine")
    return prefix


def run(*words: object) -> None:
    """Run a program; shows what it said when it fails. Raises Cannot."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Cannot(f"{words[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def environment() -> dict[str, str]:
    """A newcomer's: nothing of this machine's but the way to the package index."""
    passed = {
        name: value for name, value in os.environ.items() if re.fullmatch(r"(PIP_\w+|\w+_proxy|\w+_PROXY|SSL_CERT_\w+)", name)
    }
    passed.pop("PIP_FIND_LINKS", None)  # a directory of this machine
    return {**passed, "HOME": "/root", "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def inside(root: Path, command: str) -> bool:
    """Run a command in the clone on a machine; its last lines and its time are shown. True when it succeeded."""
    began, log = time.monotonic(), root.with_name(f"{root.name}.log")
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh", str(root), command]
    with log.open("ab") as stream:
        start = stream.tell()
        done = subprocess.run(argv, stdout=stream, stderr=subprocess.STDOUT, env=environment(), timeout=LIMIT_S, check=False)
    said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    for line in said if done.returncode else said[-SHOWN_LINES:]:
        print("   ", line)
    print(f"{root.name}: {command}: exit code {done.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


def try_machine(name: str, quick: bool, keep: bool) -> bool:
    """Make a machine and run the commands on it. Raises Cannot."""
    machine, root = MACHINES[name], PLACE / name
    began = time.monotonic()
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    root.with_name(f"{name}.log").unlink(missing_ok=True)
    try:
        make_root(machine, root)
        print(f"{name}: made in {time.monotonic() - began:.0f} s", flush=True)
        test = f".venv/bin/python -m pytest -q -n auto -m 'not slow and not ray' {QUICK}" if quick else "make test"
        version = f"python3 -c \"import sys; print(sys.version); assert sys.version.startswith('{machine.python}.')\""
        return all([inside(root, version), inside(root, "make demo"), inside(root, test)])
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


def obstacle() -> str:
    """Why no machine can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "only root may make machines"
    missing = [program for program in ("debootstrap", "git", "unshare", "chroot") if shutil.which(program) is None]
    return f"not here: {', '.join(missing)} (Debian: apt-get install debootstrap git)" if missing else ""


def main() -> int:
    """Try the machines; 0 when all commands succeeded on all of them, 77 when none could be tried."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=f"of {', '.join(MACHINES)}; all of them if none is named")
    parser.add_argument("--quick", action="store_true", help="the demo, and the tests in which Pythons and machines differ most")
    parser.add_argument("--keep", action="store_true", help="leave the roots below build/bare")
    given = parser.parse_args()
    if unknown := set(given.machines) - set(MACHINES):
        parser.error(f"no such machine: {', '.join(sorted(unknown))}; expected {', '.join(MACHINES)}")
    if problem := obstacle():
        print(problem)
        return CANNOT
    verdicts = {}
    for name in given.machines or MACHINES:
        try:
            verdicts[name] = "passed" if try_machine(name, given.quick, given.keep) else "FAILED"
        except Cannot as problem:
            verdicts[name] = f"not tried: {problem}"
        print(f"{name}: {verdicts[name]}", flush=True)
    if "FAILED" in verdicts.values():
        return 1
    return 0 if "passed" in verdicts.values() else CANNOT


if __name__ == "__main__":
    sys.exit(main())
