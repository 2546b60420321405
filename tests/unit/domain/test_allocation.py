"""Slurm's shorthand, and the variables that use it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.allocation import (
    AllocatedNode,
    expand_counts,
    expand_node_list,
    parse_time_left,
    slurm_allocation,
    usable_cores,
)
from raythena.domain.errors import InvalidInput

PREFIXES = st.from_regex(r"[a-z]([a-z-]{0,6}[a-z])?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("nid[0009-0011,7]", ["nid0009", "nid0010", "nid0011", "nid7"]),
        ("a[1,3],b,c-d[08-10]", ["a1", "a3", "b", "c-d08", "c-d09", "c-d10"]),
        ("r[0-1]n[2-3]", ["r0n2", "r0n3", "r1n2", "r1n3"]),
        ("x[1-2]-ib.site.org", ["x1-ib.site.org", "x2-ib.site.org"]),
        ("n[99-101]", ["n99", "n100", "n101"]),
    ],
)
def test_lists_of_nodes(text, names):
    assert expand_node_list(text) == names


@given(PREFIXES, st.lists(st.integers(0, 9999), min_size=1, max_size=20), st.integers(1, 6))
def test_every_list_of_numbers_comes_back(prefix, numbers, width):
    inside = ",".join(f"{number:0{width}d}" for number in numbers)
    assert expand_node_list(f"{prefix}[{inside}]") == [f"{prefix}{number:0{width}d}" for number in numbers]


@given(PREFIXES, st.integers(0, 10_000), st.integers(0, 300), st.integers(1, 6))
def test_every_span_comes_back(prefix, first, more, width):
    names = expand_node_list(f"{prefix}[{first:0{width}d}-{first + more:0{width}d}]")
    assert names == [f"{prefix}{number:0{max(width, len(str(first)))}d}" for number in range(first, first + more + 1)]


@given(st.lists(st.lists(PREFIXES, min_size=1, max_size=3), min_size=1, max_size=5))
def test_lists_can_be_joined(lists):
    texts = [",".join(names) for names in lists]
    assert expand_node_list(",".join(texts)) == [name for text in texts for name in expand_node_list(text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "n1,,n2",
        "n[1-3",
        "n1]",
        "n[[1]]",
        "n[]",
        "n[3-1]",
        "n[a-b]",
        "n[1-]",
        "n 1",
        "n[1-9999999]",
        "a[1-9999]b[1-9999]",
    ],
)
def test_no_list_of_nodes(text):
    with pytest.raises(InvalidInput, match=r"SLURM_JOB_NODELIST.*expected nodes"):
        expand_node_list(text, "SLURM_JOB_NODELIST")


@given(st.text(alphabet="n01[]-,x ", max_size=15))
def test_a_list_is_read_or_refused(text):
    try:
        names = expand_node_list(text)
    except InvalidInput:
        return
    assert names
    assert all(name and "[" not in name and "," not in name for name in names)


@given(st.lists(st.tuples(st.integers(1, 256), st.integers(1, 50)), max_size=10))
def test_counts_come_back(runs):
    text = ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in runs)
    assert expand_counts(text) == [count for count, times in runs for _ in range(times)]


@pytest.mark.parametrize("text", ["64(x2", "64(2)", "x2", "64,", "-1", "64(x0)", "64(x99999999)", " 64"])
def test_no_counts(text):
    with pytest.raises(InvalidInput, match=r"64\(x2\),32"):
        expand_counts(text)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_left_as_squeue_writes_it(days, hours, minutes, seconds):
    text = f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}" if days else f"{hours}:{minutes:02d}:{seconds:02d}"
    if not days and not hours:
        text = f"{minutes}:{seconds:02d}"
    assert parse_time_left(f"{text}\n") == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("UNLIMITED", None), ("NOT_SET", None), ("INVALID", None), ("", None), ("2-12", 216000)]
)
def test_time_left_in_words(text, seconds):
    assert parse_time_left(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-1:00", "1:2:3:4", "1d"])
def test_no_time_left(text):
    with pytest.raises(InvalidInput, match="no duration"):
        parse_time_left(text)


ENVIRONMENT = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "n[1-2],m7",
    "SLURM_JOB_CPUS_PER_NODE": "64(x2),32",
    "SLURM_RESTART_COUNT": "2",
    "SLURM_JOB_END_TIME": "1790000000",
}


def test_an_allocation():
    allocation = slurm_allocation(ENVIRONMENT)
    assert allocation is not None
    assert allocation.job_id == "4711"
    assert allocation.nodes == (AllocatedNode("n1", 64), AllocatedNode("n2", 64), AllocatedNode("m7", 32))
    assert (allocation.restarts, allocation.ends_at) == (2, 1790000000.0)
    assert allocation.named("m7.site.org") == AllocatedNode("m7", 32)
    assert allocation.named("m8") is None


def test_what_is_not_told_is_not_known():
    allocation = slurm_allocation({"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n1"})
    assert allocation is not None
    assert allocation.nodes == (AllocatedNode("n1", 0),)
    assert (allocation.restarts, allocation.ends_at) == (0, None)


def test_a_heterogeneous_job_has_the_nodes_of_all_its_parts():
    allocation = slurm_allocation(
        {
            "SLURM_JOB_ID": "10",
            "SLURM_HET_SIZE": "2",
            "SLURM_JOB_NODELIST": "big1",
            "SLURM_JOB_NODELIST_HET_GROUP_0": "big1",
            "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_0": "128",
            "SLURM_JOB_NODELIST_HET_GROUP_1": "n[1-2]",
            "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_1": "16(x2)",
        }
    )
    assert allocation is not None
    assert allocation.nodes == (AllocatedNode("big1", 128, 0), AllocatedNode("n1", 16, 1), AllocatedNode("n2", 16, 1))


def test_outside_of_slurm_there_is_none():
    assert slurm_allocation({"HOME": "/root", "SLURM_CONF": "/etc/slurm.conf"}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SLURM_JOB_NODELIST": ""}, "SLURM_JOB_NODELIST: is not set"),
        ({"SLURM_JOB_CPUS_PER_NODE": "64"}, "SLURM_JOB_CPUS_PER_NODE: counts 1 nodes; expected 3"),
        ({"SLURM_RESTART_COUNT": "two"}, "SLURM_RESTART_COUNT: 'two' is no number"),
        ({"SLURM_HET_SIZE": "2"}, "SLURM_JOB_NODELIST_HET_GROUP_0: is not set"),
    ],
)
def test_variables_that_cannot_be_true(change, words):
    with pytest.raises(InvalidInput, match=words):
        slurm_allocation(ENVIRONMENT | change)


@pytest.mark.parametrize(("given_", "allowed", "cores"), [(64, 56, 56), (8, 64, 8), (0, 12, 12), (0, 0, 1)])
def test_no_more_cores_than_given_and_allowed(given_, allowed, cores):
    assert usable_cores(given_, allowed) == cores
