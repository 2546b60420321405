"""Which signals are a request of their own; what a session does is in `test_session_signals`."""

import subprocess
import sys
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1

import pytest

from raythena.cli.interrupts import MOMENT_S, Answer, Interrupts

DRAIN, NOTHING, AT_ONCE = Answer


@pytest.mark.parametrize(
    ("story", "answers"),
    [
        pytest.param([(0, SIGTERM)], [DRAIN], id="one"),
        pytest.param([(0, SIGTERM), (0.01, SIGTERM)], [DRAIN, NOTHING], id="process group and trap"),
        pytest.param([(0, SIGTERM), (1, SIGTERM), (2, SIGTERM), (3, SIGTERM)], [DRAIN, NOTHING, NOTHING, AT_ONCE], id="thrice"),
        pytest.param([(0, SIGTERM), (0.01, SIGTERM), (60, SIGTERM)], [DRAIN, NOTHING, AT_ONCE], id="a second one later"),
        pytest.param([(0, SIGTERM), (60, SIGTERM), (60.01, SIGTERM)], [DRAIN, AT_ONCE, NOTHING], id="two, both copied"),
        pytest.param([(0, SIGHUP), (0.01, SIGHUP)], [DRAIN, NOTHING], id="the terminal is gone"),
        pytest.param([(0, SIGHUP), (60, SIGTERM)], [DRAIN, AT_ONCE], id="gone, then ended"),
        pytest.param([(0, SIGUSR1), (60, SIGTERM), (60.01, SIGTERM)], [DRAIN, DRAIN, NOTHING], id="warned, then ended"),
        pytest.param([(0, SIGUSR1), (0.01, SIGUSR1), (9, SIGUSR1)], [DRAIN, NOTHING, DRAIN], id="warned twice"),
        pytest.param([(0, SIGTERM), (5, SIGUSR1)], [DRAIN, NOTHING], id="a warning too late"),
        pytest.param([(0, SIGINT), (0.2, SIGINT)], [DRAIN, AT_ONCE], id="a person in a hurry"),
        pytest.param([(0, SIGTERM), (0.2, SIGINT)], [DRAIN, AT_ONCE], id="and another one"),
    ],
)
def test_answers(story, answers):
    now = [0.0]
    interrupts = Interrupts(lambda: now[0])
    given = []
    for at, number in story:
        now[0] = at
        given.append(interrupts.heard(number))
    assert given == answers


def test_a_moment_is_shorter_than_any_grace_period():
    assert 1.0 < MOMENT_S < 10.0


def test_what_nohup_ignores_is_not_caught():
    program = "from raythena.cli.interrupts import caught_signals; print(*(each.name for each in caught_signals()))"
    caught = [
        subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for prefix in ([], ["nohup"])
    ]
    assert caught == [["SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"], ["SIGINT", "SIGTERM", "SIGUSR1"]]
