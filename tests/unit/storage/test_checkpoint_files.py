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


def test_there_need_be_none(tmp_path):
    KeptCheckpoints(tmp_path).settled(1, None)
    KeptCheckpoints(tmp_path / "nowhere").settled(1, 0.5)
