"""A node's name is written and read in one place, and comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.node_name import NodeName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("n1.3", NodeName("n1", 3)),
        ("a.b.12", NodeName("a.b", 12)),
        ("n1", NodeName("n1")),
        ("n1.x", NodeName("n1.x")),
        (".5", NodeName(".5")),
        ("n1.0", NodeName("n1.0")),
        ("n1.²", NodeName("n1.²")),
    ],
)
def test_reading(text, name):
    assert NodeName.parse(text) == name
    assert str(name) == text


@given(st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True), st.integers(1, 10**6))
def test_what_was_written_is_read(host, incarnation):
    name = NodeName(host, incarnation)
    assert NodeName.parse(str(name)) == name
    assert name.next() > name
