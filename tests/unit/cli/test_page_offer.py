"""The offer to open a page: made to people at a screen, to nobody else, and never in the way."""

from __future__ import annotations

import os
import pty
import queue

import pytest

from raythena.cli import page_offer
from raythena.cli.page_beside import page_beside
from raythena.cli.page_offer import PageOffer

SCREEN = {"DISPLAY": ":0"}


@pytest.fixture
def terminal():
    """(what a person types on, what the program reads and writes)."""
    master, slave = pty.openpty()
    with open(slave, encoding="utf-8") as stream:  # noqa: PTH123 (it has no path)
        yield master, stream
    os.close(master)


@pytest.mark.parametrize(
    ("typed", "wanted"), [("y", True), ("yes", True), (" Y ", True), ("n", False), ("", False), ("why", False)]
)
def test_a_person_is_asked(terminal, typed, wanted):
    master, stream = terminal
    os.write(master, f"{typed}\n".encode())
    assert PageOffer.made(stream, stream, SCREEN).wanted is wanted


def test_nobody_is_waited_for_for_long(terminal, monkeypatch):
    monkeypatch.setattr(page_offer, "WAIT_S", 0.05)
    _, stream = terminal
    assert not PageOffer.made(stream, stream, SCREEN).wanted


def test_where_no_browser_could_open_nobody_is_asked(terminal, capsys):
    master, stream = terminal
    os.write(master, b"y\n")
    assert not PageOffer.made(stream, stream, {}).wanted
    assert capsys.readouterr().out == ""


def test_without_a_terminal_nobody_is_asked(tmp_path, capsys):
    with (tmp_path / "answers").open("w+") as stream:
        assert not PageOffer.made(stream, stream, SCREEN).wanted
    assert capsys.readouterr().out == ""


def test_one_page_is_opened_and_not_the_next():
    opened = []
    offer = PageOffer(wanted=True, browse=lambda address: opened.append(address) or True)
    assert (offer.open("first"), offer.open("second")) == ("", "")
    assert opened == ["first"]
    assert PageOffer(wanted=False, browse=opened.append).open("third") == ""
    assert opened == ["first"]


def test_a_browser_that_does_not_start_is_told_of():
    assert "no browser" in PageOffer(wanted=True, browse=lambda address: False).open("address")


def test_the_page_is_opened_when_it_is_there(computed):
    told, opened = queue.Queue(), queue.Queue()
    with page_beside(computed.root, told.put, PageOffer(wanted=True, browse=opened.put).open):
        address = opened.get(timeout=60.0)
        assert told.get(timeout=60.0) == f"page: {address}"
        assert "no browser" in told.get(timeout=60.0)
