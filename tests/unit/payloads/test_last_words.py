"""The one line of a log that says what went wrong."""

import pytest

from raythena.payloads.last_words import MAX_LENGTH, READ_BYTES, last_words

TRACEBACK = """Traceback (most recent call last):
  File "/sw/Sim_tf.py", line 3, in <module>
    import uproot
ModuleNotFoundError: No module named 'uproot'
"""


@pytest.mark.parametrize(
    ("stderr", "stdout", "line"),
    [
        (TRACEBACK, "all is well\n", "ModuleNotFoundError: No module named 'uproot'"),
        (TRACEBACK + "\nexiting\n", "", "ModuleNotFoundError: No module named 'uproot'"),
        ("a warning\n", "12:00 CRITICAL no such release\n12:01 INFO leaving\n", "12:00 CRITICAL no such release"),
        ("sh: 1: Sim_tf.py: not found\n", "setting up\n", "sh: 1: Sim_tf.py: not found"),
        ("", "first\nlast\n\n", "last"),
        ("errors: none\nno ERRORS\nasetup: error: no release 23\nbye\n", "", "asetup: error: no release 23"),
        ("", "", ""),
    ],
)
def test_the_last_line_that_looks_like_an_error(tmp_path, stderr, stdout, line):
    (tmp_path / "err").write_text(stderr)
    (tmp_path / "out").write_text(stdout)
    assert last_words([tmp_path / "err", tmp_path / "out", tmp_path / "absent"]) == line


def test_a_long_log_is_read_from_its_end_and_a_long_line_is_cut(tmp_path):
    path = tmp_path / "err"
    path.write_bytes(b"ERROR early\n" + b"noise\n" * READ_BYTES + b"ERROR " + b"\xff" * 2000 + b"\n")
    said = last_words([path])
    assert said.startswith("ERROR \ufffd")
    assert len(said) == MAX_LENGTH
