"""How long a driver waits for a coordinator that is away."""

import pytest

from raythena.domain.errors import ClusterError, ExitCode
from raythena.runtime.driver import Absence, SessionRefused


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
