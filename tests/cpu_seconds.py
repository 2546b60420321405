"""Where the processor's time of the tests goes: `pytest --cpu` prints it by file, `--cpu=tests` by test.

Counted is what the process of a test and the children it waited for have used between two phases of tests; what a session's
fixture costs is on the test that needed it first. A process that outlived whoever started it is not counted.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

SHOWN = 60


class CpuSeconds:
    """The plug-in: it measures where tests run, and adds up where they are reported."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._before = 0.0
        self._used: Counter[str] = Counter()

    def pytest_collection_finish(self) -> None:
        self._before = _used_s()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        report = yield
        report.cpu_s, self._before = _used_s() - self._before, _used_s()
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._used[report.nodeid if self._by == "tests" else report.nodeid.partition("::")[0]] += getattr(report, "cpu_s", 0.0)

    def pytest_terminal_summary(self, terminalreporter) -> None:
        terminalreporter.section(f"CPU seconds by {self._by}: {self._used.total():.1f} in all")
        for name, used_s in self._used.most_common(SHOWN):
            terminalreporter.write_line(f"{used_s:8.2f}  {name}")


def _used_s() -> float:
    return sum(os.times()[:4])
