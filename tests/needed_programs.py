"""Programs that tests need beyond Python: found, or the test is skipped in one line that says what to install.

CI installs all of them; there a program that is missing fails the test, so that nothing is skipped unseen. A compiler need not be
installed on the machine: `make test` gets one from the package index where there is none (`requirements/compiler.txt`).
"""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

PACKAGES = {
    "bwrap": "bubblewrap",
    "curl": "curl",  # the pilot talks through it
    "fish": "fish",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "ps": "procps",  # the pilot looks at processes with it
    "unzip": "unzip",
    "zsh": "zsh",
}
"""Debian's package for each program that a test may ask for."""
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_COMPILERS = {"c": ("cc", "gcc", "clang"), "c++": ("g++", "c++", "clang++")}
_ZIG = {"c": "cc", "c++": "c++"}


def need(*programs):
    """Go on where all of them are here; otherwise skip the test, or fail it in CI."""
    if missing := missing_programs(programs):
        _without(f"needs {', '.join(missing)} (Debian: apt-get install {_packages(missing)})")


def compiler(language):
    """The words that start a compiler of "c" or "c++". Skips the test where there is none, or fails it in CI."""
    for name in _COMPILERS[language]:
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", _ZIG[language]]
    return _without(f"needs a compiler of {language} (Debian: apt-get install g++; or pip install -r requirements/compiler.txt)")


def missing_programs(programs=tuple(PACKAGES)):
    """Those of `programs` that are not here."""
    return [name for name in programs if shutil.which(name, path=_PATH) is None]


def need_apptainer():
    """The same for apptainer, which Debian 12 has no package of."""
    if missing_programs(["apptainer"]):
        _without("needs apptainer (make containers installs it, as root)")


def need_namespaces():
    """Go on where we may make namespaces of every kind; otherwise skip the test, in CI too: no package changes that."""
    words = [
        "unshare",
        "--net",
        "--mount",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        "--mount-proc",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"needs a machine on which we may make namespaces and mounts: {tried.stderr.strip()}")


def summary():
    """One line on what is missing here and how to have it; empty when nothing is."""
    missing = missing_programs()
    return missing and f"not here: {', '.join(missing)}; tests that need them are skipped (apt-get install {_packages(missing)})"


def _packages(programs):
    return " ".join(sorted({PACKAGES[name] for name in programs}))


def _without(reason):
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI is to install it, see .ci/run", pytrace=False)
    pytest.skip(reason)
