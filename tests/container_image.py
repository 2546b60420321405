"""A root file system of a few megabytes from programs of this machine, and the container engines that are installed here."""

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from needed_programs import compiler, need, need_apptainer

ROOT = Path(__file__).parents[1]

MERGE = """#!/bin/bash
for word in "$@"; do
    case "$word" in
        @*) list=${word#@} ;;
        --outputHITS_MRGFile=*) output=${word#*=} ;;
    esac
done
for word in $(cat "$list"); do
    word=${word#*=}
    [[ -f $word ]] && cat "$word"
done > "$output"
echo "merged in a container: $(cat /etc/which-image), $PWD"
"""
ENGINES = {"apptainer": need_apptainer, "bubblewrap": partial(need, "bwrap")}


def build_image(root):
    """The root file system: bash, cat, env, sleep, an event loop in C++ and a merging program; nothing of Python."""
    for name in ("bin", "etc", "lib", "lib64", "usr/bin", "tmp", "proc", "sys", "dev", "var/tmp", "root", "home"):
        (root / name).mkdir(parents=True)
    for name in ("bash", "cat", "env", "sleep"):
        _copy_program(Path(shutil.which(name)), root)
    (root / "etc" / "which-image").write_text("ours\n")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    merge = root / "bin" / "HITSMerge_tf.py"
    merge.write_text(MERGE)
    merge.chmod(0o755)
    include = ROOT / "src" / "raythena" / "payloads" / "include"
    source = ROOT / "examples" / "cpp" / "event_loop.cpp"
    target = root / "bin" / "event_loop"
    subprocess.run(
        [*compiler("c++"), "-std=c++17", "-O1", "-static", f"-I{include}", "-o", target, source, "-pthread"], check=True
    )
    return root


def in_engine(name, image):
    """The container of that engine, if it is installed. Root keeps no rights inside: on this machine it may lack some itself."""
    ENGINES[name]()
    options = ["--no-privs"] if name == "apptainer" and os.geteuid() == 0 else []
    return {"engine": name, "image": str(image), "options": options}


def _copy_program(program, root):
    """A program into `/bin`, with the libraries it is linked to, each where the loader looks for it."""
    shutil.copy(program, root / "bin" / program.name)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+)", listed):
        inside = root / library.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if not inside.exists():
            shutil.copy(os.path.realpath(library), inside)
