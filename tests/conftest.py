"""For all tests: what a test starts must react to Ctrl-C, and how long an example takes says nothing about it."""

import signal
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

import needed_programs
from cpu_seconds import CpuSeconds

# A shell starts background jobs with SIGINT ignored, `nohup` with SIGHUP, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# On top of the profile Hypothesis took by itself: where CI is set, that one makes the same examples every time.
settings.register_profile("untimed", settings(deadline=None))
settings.load_profile("untimed")


def pytest_addoption(parser):
    parser.addoption("--cpu", nargs="?", const="files", choices=("files", "tests"), help="print CPU seconds by file or by test")


def pytest_configure(config):
    if config.option.cpu:
        config.pluginmanager.register(CpuSeconds(config.option.cpu))


def pytest_terminal_summary(terminalreporter):
    """Say once, at the end, what this machine lacks."""
    if terminalreporter.stats.get("skipped") and (line := needed_programs.summary()):
        terminalreporter.write_line(line)
