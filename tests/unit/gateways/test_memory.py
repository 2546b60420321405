from __future__ import annotations

from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.progress import Progress
from raythena.gateways.memory import MemoryGateway


def job(name: str) -> Job:
    return Job(name, (InputFile("a", "/a", 1),), ("b",), PayloadSpec("python"), MergeSpec(), 1)


def progress(stored: int) -> Progress:
    return Progress("one", "running", 1, 0, 0, stored, 0, 0, 0, 1, 0, 0, 0, 1.0, None, 1.0, 1.0)


def test_jobs_come_out_in_order_and_then_no_more():
    gateway = MemoryGateway([job("one"), job("two")])
    assert [gateway.next_job(), gateway.next_job(), gateway.next_job()] == [job("one"), job("two"), None]


def test_what_is_told_is_remembered():
    gateway = MemoryGateway([job("one")])
    gateway.publish(progress(0))
    gateway.publish(progress(1))
    gateway.finish(job("one"), {"exitCode": 0})
    assert [snapshot.stored for snapshot in gateway.progress] == [0, 1]
    assert gateway.reports == {"one": {"exitCode": 0}}
