"""What is said when a library of the demo is not there."""

from __future__ import annotations

import pytest

from raythena.demo import extra
from raythena.domain.errors import InvalidInput

INSTALL = "pip install 'raythena[demo]'"


def test_a_missing_library_is_explained() -> None:
    with pytest.raises(InvalidInput, match=r"raythena\[demo\]"):
        extra.optional("no_such_library")


@pytest.mark.parametrize("version", ["glibc 2.34", "glibc 2.36", "glibc 2.100", "glibc 3.0"])
def test_acts_can_be_installed_on_a_system_that_is_new_enough(version: str) -> None:
    assert extra.libc_problem(version) == INSTALL


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("glibc 2.33", "this system has glibc 2.33"),
        ("glibc 2.17", "this system has glibc 2.17"),
        ("", "this system has another one"),
        ("musl 1.2", "this system has musl 1.2"),
        ("glibc 2.x", "this system has glibc 2.x"),
    ],
)
def test_on_an_older_system_nothing_is_to_be_installed(version: str, said: str) -> None:
    problem = extra.libc_problem(version)
    assert INSTALL not in problem
    assert said in problem
    assert "2.34 or newer" in problem


def test_a_missing_acts_speaks_of_the_c_library_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "libc_version", lambda: "glibc 2.28")
    with pytest.raises(InvalidInput, match=r"glibc 2\.28"):
        extra.optional("acts.no_such_module")
    with pytest.raises(InvalidInput) as refusal:
        extra.optional("fastjet.no_such_module")
    assert "glibc" not in str(refusal.value)


def test_this_system_says_what_it_has() -> None:
    assert extra.libc_version().startswith("glibc 2.")
