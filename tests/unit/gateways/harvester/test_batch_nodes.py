"""How many nodes the batch job has, from what batch systems say."""

import pytest

from raythena.gateways.harvester.batch_nodes import batch_nodes


@pytest.mark.parametrize(
    ("said", "nodes"),
    [
        ({}, 1),
        ({"SLURM_JOB_NUM_NODES": "1"}, 1),
        ({"SLURM_JOB_NUM_NODES": "12"}, 12),
        ({"SLURM_NNODES": "3"}, 3),
        ({"SLURM_JOB_NUM_NODES": "many", "SLURM_NNODES": "4"}, 4),
        ({"PBS_NODEFILE": "/nowhere/at/all"}, 1),
    ],
)
def test_what_the_environment_says(said, nodes):
    assert batch_nodes(said) == nodes


def test_a_list_of_nodes_has_a_line_for_each_core(tmp_path):
    listed = tmp_path / "nodes"
    listed.write_text("a\na\nb\nb\nc\n")
    assert batch_nodes({"PBS_NODEFILE": str(listed)}) == 3
