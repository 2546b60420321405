"""The log archive has what a person needs, and an end."""

import tarfile
import zlib

from raythena.gateways.harvester.log_archive import LogLimits, make_log_archive


def content(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_logs_of_the_worker_and_of_the_nodes(tmp_path):
    point, task = tmp_path / "point", tmp_path / "task"
    for path, text in [
        (point / "slurm-1.out", "batch"),
        (point / "HPCJobs.json", "{}"),
        (point / "HITS.root", "no log"),
        (task / "jobReport.json", "{}"),
        (task / "logs/s1/coordinator.log", "coordinator"),
        (task / "logs/s1/n1/payload.txt", "payload"),
        (task / "outputs/HITS.root", "no log"),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = make_log_archive(point / "log.tgz", point, task)
    assert sorted(content(made.path)) == [
        "HPCJobs.json",
        "slurm-1.out",
        "task/jobReport.json",
        "task/logs/s1/coordinator.log",
        "task/logs/s1/n1/payload.txt",
    ]
    data = made.path.read_bytes()
    assert (made.size_bytes, made.adler32) == (len(data), zlib.adler32(data))
    # made once more, it does not contain itself
    assert "log.tgz" not in content(make_log_archive(point / "log.tgz", point, task).path)


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path):
    (tmp_path / "long.log").write_bytes(b"first " + b"x" * 100_000 + b" last")
    made = make_log_archive(tmp_path / "log.tgz", tmp_path, None, LogLimits(file_bytes=1000))
    (kept,) = content(made.path).values()
    assert kept.startswith(b"first ")
    assert kept.endswith(b" last")
    assert b"bytes left out" in kept
    assert len(kept) < 1100


def test_what_does_not_fit_is_named(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.log").write_bytes(b"y" * 400)
    made = make_log_archive(tmp_path / "log.tgz", tmp_path, None, LogLimits(total_bytes=1000))
    kept = content(made.path)
    assert kept.pop("LEFT_OUT.txt").decode().splitlines() == [f"{n}.log: the archive is full" for n in (3, 4)]
    assert list(kept) == ["0.log", "1.log", "2.log"]
