"""Of the checkpoints of recorded trials that of the best is kept."""

from __future__ import annotations

import pytest

from raythena.storage.checkpoint_files import KeptCheckpoints, checkpoint_path


@pytest.mark.parametrize(
    ("settled", "kept"),
    [
        ([(1, 0.5)], {1}),
        ([(1, 0.5), (2, 0.4)], {2}),
        ([(1, 0.5), (2, 0.6)], {1}),
        ([(1, None), (2, None)], set()),
        ([(2, 0.5), (1, 0.5)], {1}),
        ([(2, 0.5), (2, 0.5)], {2}),
        ([(3, -1.0), (1, 0.0), (2, None)], {3}),
    ],
)
def test_the_best_stays(tmp_path, settled, kept):
    (tmp_path / "trials").mkdir()
    for number, _ in settled:
        checkpoint_path(tmp_path, number).write_bytes(b"w")
    checkpoint_path(tmp_path, 99).write_bytes(b"still running")
    files = KeptCheckpoints(tmp_path)
    for number, value in settled:
        files.settled(number, value)
    assert {int(path.stem) for path in (tmp_path / "trials").iterdir()} == kept | {99}


@pytest.mark.parametrize(
    ("settled", "kept"),
    [
        ([1, 2, 3], {1, 2, 3}),
        ([1, 2, 3, 4], {1, 2, 3, 4}),
        ([1, 2, 3, 4, 5], {1, 2, 3, 4, 5}),
        ([1, 2, 3, 4, 5, 6], {1, 3, 4, 5, 6}),
        ([2, 3, 4, 5, 6], {2, 3, 4, 5, 6}),
        ([6, 5, 4, 3, 2, 1], {1, 3, 4, 5, 6}),
        ([1, 2, 3, 4, 5, 6, 7, 7], {1, 4, 5, 6, 7}),
    ],
)
def test_in_a_population_what_others_may_go_on_from_stays(tmp_path, settled, kept):
    """Trial 1 is the best. `n` is needed until every trial before `n + 5` is settled: 2 until the sixth is."""
    (tmp_path / "trials").mkdir()
    for number in settled:
        checkpoint_path(tmp_path, number).write_bytes(b"w")
    files = KeptCheckpoints(tmp_path, needed_for=5)
    for number in settled:
        files.settled(number, float(number))
    assert {int(path.stem) for path in (tmp_path / "trials").iterdir()} == kept


def test_there_need_be_none(tmp_path):
    KeptCheckpoints(tmp_path).settled(1, None)
    KeptCheckpoints(tmp_path / "nowhere").settled(1, 0.5)
