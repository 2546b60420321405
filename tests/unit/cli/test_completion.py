"""Completion in the shells themselves: each loads what we print for it, and asks us what could follow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from needed_programs import need

ASK = {
    "bash": (
        "bash",
        "--norc",
        "-c",
        'eval "$(_RAYTHENA_COMPLETE=source_bash raythena)"; words=($1); COMP_WORDS=("${words[@]}"); '
        'COMP_CWORD=$((${#words[@]} - 1)); _raythena_completion raythena; printf "%s\\n" "${COMPREPLY[@]}"',
        "bash",
    ),
    "zsh": (
        "zsh",
        "-f",
        "-c",
        'compdef() { : }; eval "$(_RAYTHENA_COMPLETE=source_zsh raythena)"; _arguments() { print -l -- "$@" }; '
        "words=(${=1}); CURRENT=${#words}; _raythena_completion",
        "zsh",
    ),
    "fish": ("fish", "--no-config", "-c", "_RAYTHENA_COMPLETE=source_fish raythena | source; complete -C $argv[1]"),
}


@pytest.fixture
def complete(tmp_path):
    """What a shell offers after these words."""
    program = tmp_path / "raythena"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m raythena.cli "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}

    def offered(shell: str, words: str) -> str:
        need(shell)
        ran = subprocess.run([*ASK[shell], words], env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert ran.stderr == ""
        return ran.stdout

    return offered


@pytest.mark.parametrize("shell", ASK)
def test_commands_are_completed(complete, shell):
    told = complete(shell, "raythena mo")
    assert "monitor" in told
    assert "metrics" not in told


@pytest.mark.parametrize("shell", ASK)
def test_options_of_a_command_are_completed(complete, shell):
    told = complete(shell, "raythena metrics --te")
    assert "--textfile" in told
    assert "--serve" not in told
