"""Files that name hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput
from raythena.domain.host_list import Host, parse_hosts

NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,10}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a\nb\n", (Host("a", 0), Host("b", 0))),
        ("# mine\n\na 8  # fast\nuser@b.site.org 4\n", (Host("a", 8), Host("user@b.site.org", 4))),
        ("10.0.0.1\nfe80::1\n", (Host("10.0.0.1", 0), Host("fe80::1", 0))),
        ("n1\nn1\nn2\nn2\n", (Host("n1", 2), Host("n2", 2))),
        ("n1\nn1 16\n", (Host("n1", 16),)),
    ],
)
def test_hosts(text, hosts):
    assert parse_hosts(text, "hosts") == hosts


@given(st.lists(st.tuples(NAMES, st.integers(1, 512)), min_size=1, max_size=20, unique_by=lambda entry: entry[0]))
def test_every_list_comes_back(entries):
    text = "".join(f"{name} {cores}\n" for name, cores in entries)
    assert parse_hosts(text, "hosts") == tuple(Host(name, cores) for name, cores in entries)


@given(NAMES, st.integers(2, 300))
def test_pbs_has_a_line_for_each_core(name, lines):
    assert parse_hosts(f"{name}\n" * lines, "hosts") == (Host(name, lines),)


@pytest.mark.parametrize(
    "text", ["", "# nobody\n", "-oProxyCommand=x\n", "a b\n", "a 0\n", "a 1 2\n", "a;rm 1\n", "$(x)\n", "a -1\n"]
)
def test_what_is_no_list_of_hosts(text):
    with pytest.raises(InvalidInput, match="hosts"):
        parse_hosts(text, "hosts")
