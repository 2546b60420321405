"""The queue of outcomes every payload has: each range comes back once, `poll` waits no longer than asked."""

import asyncio

import pytest

from raythena.domain.errors import InternalError, PayloadError
from raythena.domain.ranges import EventRange
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.runtime.payload_interface import LeasedRange, Released, Started


def leases(*indices):
    return [LeasedRange(index, EventRange(f"r-{index}", "lfn", "/pfn", "guid", index, index)) for index in indices]


@pytest.fixture
def queue():
    queue = OutcomeQueue()
    queue.take_in(leases(1, 2, 3))
    return queue


def poll(queue, timeout_s=0.0):
    return asyncio.run(asyncio.wait_for(queue.poll(timeout_s), 30))


@pytest.mark.parametrize("fed", [(4, 3), (5, 5)])
def test_a_range_is_not_fed_twice_and_then_none_of_them_is_taken(queue, fed):
    with pytest.raises(InternalError, match=f"range {fed[-1]} was fed"):
        queue.take_in(leases(*fed))
    assert len(queue) == 3
    assert queue.held_of((1, 4, 5)) == {1}


def test_outcomes_leave_in_order_and_once(queue):
    queue.started(2, 10.0)
    queue.release([3, 1])
    assert poll(queue) == [Started(2, 10.0), Released(3), Released(1)]
    assert poll(queue) == []
    assert (len(queue), queue.finished) == (1, 2)


def test_a_range_does_not_come_back_twice(queue):
    queue.release([1])
    with pytest.raises(InternalError, match="range 1, which it does not hold"):
        queue.release([1])


def test_a_range_that_came_back_may_be_fed_again(queue):
    queue.release([1])
    queue.take_in(leases(1))
    assert queue.held_of([1]) == {1}


def test_a_payload_beyond_repair_says_so_after_its_last_outcome_and_every_time(queue):
    queue.release([1])
    assert queue.give_up(PayloadError("broken"))
    assert not queue.give_up(PayloadError("another reason"))
    assert poll(queue, 60.0) == [Released(1)]
    for _ in range(2):
        with pytest.raises(PayloadError, match="broken"):
            poll(queue, 60.0)


def test_nothing_is_waited_for_after_the_end(queue):
    queue.close()
    assert poll(queue, 60.0) == []


@pytest.mark.parametrize("event", [lambda q: q.release([1]), lambda q: q.close(), lambda q: q.started(1, 0.0)])
def test_who_waits_is_woken(queue, event):
    async def scene():
        asyncio.get_running_loop().call_later(0.01, event, queue)
        return await asyncio.wait_for(queue.poll(60.0), 30)

    assert len(asyncio.run(scene())) <= 1


def test_what_happens_in_one_turn_of_the_loop_is_fetched_at_once(queue):
    async def scene():
        asyncio.get_running_loop().call_later(0.01, queue.release, [1, 2, 3])
        return await asyncio.wait_for(queue.poll(60.0), 30)

    assert asyncio.run(scene()) == [Released(1), Released(2), Released(3)]


def test_a_poll_that_was_cancelled_loses_nothing(queue):
    async def scene():
        task = asyncio.ensure_future(queue.poll(60.0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        queue.release([1])
        return await queue.poll(60.0)

    assert asyncio.run(scene()) == [Released(1)]
