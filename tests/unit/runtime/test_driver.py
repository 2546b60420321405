"""How long a driver waits for a coordinator that is away, and how often it asks one that dies."""

import pytest

from raythena.domain.errors import ClusterError, ExitCode
from raythena.runtime.driver import Absence, SessionRefused, take_over


class Hands:
    """A clock that stands where it is put."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


def test_an_absence_counts_from_its_beginning_and_ends_with_an_answer():
    clock = Hands()
    absence = Absence(clock)
    for later in (0.0, 50.0, 90.0):
        clock.at = 100.0 + later
        absence.note(OSError("nobody"))
    absence.over()
    clock.at = 250.0
    absence.note(OSError("nobody"))
    clock.at = 341.0
    with pytest.raises(ClusterError, match="away for 91 s: nobody"):
        absence.note(OSError("nobody"))


def test_a_refusal_has_the_exit_code_of_what_it_tells():
    assert SessionRefused("taken", ExitCode.LEDGER).exit_code is ExitCode.LEDGER


def coordinator(*answers):
    """What is called once for each answer; errors are raised."""
    left = list(answers)

    def ask():
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask, left


def test_one_that_dies_over_the_start_is_asked_again():
    ask, left = coordinator(ConnectionError(), ConnectionError(), None, None)
    take_over(ask, ConnectionError, 0.0)
    assert left == [None], "and no more often than need be"


def test_one_that_dies_every_time_is_given_up():
    ask, left = coordinator(*[ConnectionError("gone")] * 5)
    with pytest.raises(ConnectionError, match="gone"):
        take_over(ask, ConnectionError, 0.0)
    assert len(left) == 1


def test_another_error_and_a_refusal_are_final():
    ask, left = coordinator(OSError("no disk"), None)
    with pytest.raises(OSError, match="no disk"):
        take_over(ask, ConnectionError, 0.0)
    assert left == [None]
    with pytest.raises(SessionRefused, match="in use") as refused:
        take_over(coordinator(("in use", int(ExitCode.LEDGER)))[0], ConnectionError, 0.0)
    assert refused.value.exit_code is ExitCode.LEDGER
