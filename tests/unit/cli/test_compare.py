"""`raythena compare`: tasks side by side, for people, for machines, and as a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def other(computed, tmp_path):
    return shutil.copytree(computed.root, tmp_path / "other.raythena")


def test_people_see_columns(run, computed, other):
    ran = run("compare", computed.root, other, "--together")
    assert ran.code == 0
    head, *lines = ran.out.splitlines()
    assert head.split() == ["figure", "sim.raythena", "other.raythena", "together"]
    assert next(line.split() for line in lines if line.startswith("merged")) == ["merged", "4", "4", "8", "(2.00", "×)"]


def test_machines_get_values(run, computed, other):
    document = json.loads(run("compare", computed.root, other, "--json").out)
    assert document["columns"] == ["sim.raythena", "other.raythena"]
    assert document["figures"]["failed"] == {"kind": "count", "values": [1, 1]}


def test_allocations_of_a_task(run, computed):
    assert json.loads(run("compare", computed.root, "--allocations", "--json").out)["columns"] == ["s1", "together"]


def test_one_file(run, computed, other):
    assert run("compare", computed.root, other, "--html", "both.html").code == 0
    page = Path("both.html").read_text()
    assert "Side by side" in page
    assert "other.raythena" in page


@pytest.mark.parametrize("missing", [["compare"], ["compare", "nowhere.raythena"]])
def test_what_is_no_task_is_refused(run, missing):
    assert run(*missing).code != 0
