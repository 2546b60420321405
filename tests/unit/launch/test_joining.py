"""A head that is up and not ready is asked again; one that will never have us is not."""

import asyncio
import threading

import pytest

from raythena.domain.errors import ClusterError
from raythena.launch.joining import PATIENCE_S, ask_ray, join, means_not_yet


class Head:
    """Fails as often as it has errors, on a clock that only sleeping moves."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.attempts = self.cleared = 0
        self.now = 0.0
        self.pauses = []
        self.stopped_in_pause = None

    def attempt(self):
        assert self.cleared == self.attempts, "what a failed attempt has left is still there"
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)

    def clear(self):
        self.cleared += 1

    def wait(self, pause_s):
        self.pauses.append(pause_s)
        self.now += pause_s
        return len(self.pauses) == self.stopped_in_pause

    def join(self):
        join("127.0.0.1:1", self.attempt, self.clear, lambda: self.now, self.wait)


NOT_YET = [
    ConnectionError("ray client"),
    RuntimeError("Failed to connect to GCS. Last connection error: unavailable"),
    RuntimeError("No node info found matching attributes: 'node ip' when trying to resolve node to connect to."),
    RuntimeError("Timed out waiting for node info for node_id=00."),
    Exception("Head node temp_dir not found in NodeInfo, either GCS or head node's raylet may not have started successfully."),
]


@pytest.mark.parametrize("error", NOT_YET, ids=lambda error: type(error).__name__ + str(error)[:20])
def test_not_yet_is_asked_again(error):
    head = Head(error, error)
    head.join()
    assert (head.attempts, head.cleared) == (3, 2)
    assert head.pauses == [0.25, 0.5]


@pytest.mark.parametrize(
    "error", [RuntimeError("Version mismatch: ray 2.50"), Exception("Authentication failed: token"), ValueError("bad address")]
)
def test_what_will_not_change_is_final_at_once(error):
    head = Head(error)
    assert not means_not_yet(error)
    with pytest.raises(ClusterError, match=str(error)):
        head.join()
    assert (head.attempts, head.pauses) == (1, [])


def test_nobody_waits_longer_than_a_minute():
    head = Head(*NOT_YET[1:2] * 1000)
    with pytest.raises(ClusterError, match="Failed to connect to GCS"):
        head.join()
    assert 0.8 * PATIENCE_S < head.now <= PATIENCE_S
    assert max(head.pauses) == 5.0


def test_who_is_stopped_makes_no_other_attempt():
    head = Head(*NOT_YET)
    head.stopped_in_pause = 2
    with pytest.raises(ClusterError, match="stopped while connecting"):
        head.join()
    assert head.attempts == 2


def test_the_answer_comes_back():
    assert asyncio.run(ask_ray(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask_ray(lambda: 1 // 0))


@pytest.mark.parametrize("fails", [False, True])
def test_cancelled_while_ray_is_asked(fails):
    """The thread ends before anybody clears away what it works on, and is told to end soon."""
    begun, stopped, order = threading.Event(), threading.Event(), []

    def question():
        begun.set()
        assert stopped.wait(60.0)
        order.append("thread")
        if fails:
            raise ConnectionError("the head is gone")

    async def start():
        try:
            await ask_ray(question, stopped)
        finally:
            order.append("clean-up")

    async def cancel():
        task = asyncio.create_task(start())
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert order == ["thread", "clean-up"]
