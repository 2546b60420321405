"""The channel answers from the queue, and tells everything else in the order in which it happened."""

import queue
import time
import uuid
from contextlib import contextmanager

import pytest
from athenamp_kit import play

import yampl
from raythena.domain.errors import PayloadError
from raythena.payloads.athenamp.channel import Asked, Broken, Channel, ChannelQueue, Given, Heard, Silence, Told
from raythena.payloads.athenamp.messages import NO_MORE, READY

LIMIT_S = 60.0


class Line:
    """Both ends of a channel."""

    def __init__(self):
        name = f"test-{uuid.uuid4().hex}"
        self.range_queue, self.news = ChannelQueue(), queue.Queue()
        self.channel = Channel(yampl.ServerSocket(name, "local"), self.range_queue, self.news.put)
        self.client = yampl.ClientSocket(name, "local")

    def say(self, message=READY):
        self.client.send_raw(message)

    def hear(self):
        return self.client.recv_raw()[1]

    def told(self, *kinds):
        """The next pieces of news; they must be of these kinds."""
        found = [self.news.get(timeout=LIMIT_S) for _ in kinds]
        assert [type(one) for one in found] == list(kinds)
        return found


@contextmanager
def open_line():
    line = Line()
    line.channel.start()
    try:
        yield line
    finally:
        line.channel.stop()


def test_ranges_are_given_in_order_and_the_one_put_back_comes_first():
    with open_line() as line:
        for number in (1, 2, 3):
            line.range_queue.put(f"t{number}", b"range %d" % number)
        line.range_queue.put("t0", b"range 0", in_front=True)
        assert line.range_queue.withdraw(["t2", "t9"]) == ["t2"]
        for number in (0, 1, 3):
            line.say()
            assert line.hear() == b"range %d" % number
            asked, given = line.told(Asked, Given)
            assert (given.token, given.asked_at, given.starved) == (f"t{number}", asked.at, False)
        assert len(line.range_queue) == 0


def test_a_worker_waits_for_a_range_that_comes_later():
    with open_line() as line:
        line.say()
        line.told(Asked)
        while line.channel.starved_since is None:
            time.sleep(0.001)
        line.range_queue.put("t1", b"range 1")
        assert line.hear() == b"range 1"
        (given,) = line.told(Given)
        assert given.starved
        assert line.channel.starved_since is None


def test_a_flush_is_an_answer_when_there_is_no_range():
    with open_line() as line:
        assert line.channel.flush(b"flush")
        assert not line.channel.flush(b"another")
        line.say()
        assert line.hear() == b"flush"
        line.range_queue.put("t1", b"range 1")
        line.channel.flush(b"flush")
        line.say()
        assert line.hear() == b"range 1"


def test_at_the_end_there_are_no_more_events_whatever_is_in_the_queue():
    with open_line() as line:
        line.range_queue.put("t1", b"range 1")
        line.channel.close()
        for _ in range(2):
            line.say()
            assert line.hear() == NO_MORE
            line.told(Asked, Told)
        assert len(line.range_queue) == 1


def test_last_words_are_heard_before_silence():
    with open_line() as line:
        for number in range(20):
            line.say(b"word %d" % number)
        line.say()
        del line.client
        line.channel.finish()
        heard = line.told(*[Heard] * 20, Asked, Silence)
        assert [one.message for one in heard[:20]] == [b"word %d" % number for number in range(20)]


class Deaf:
    """A socket that fails in one way."""

    def __init__(self, hears):
        self.hears = hears

    def try_recv_raw(self):
        if not self.hears:
            raise RuntimeError("deaf")
        return (len(READY), READY) if self.hears.pop() else (-1, b"")

    def send_raw(self, message):
        raise BrokenPipeError("mute")


def test_a_range_that_could_not_be_sent_stays_in_the_queue():
    news, range_queue = queue.Queue(), ChannelQueue()
    range_queue.put("t1", b"range 1")
    channel = Channel(Deaf([False, True]), range_queue, news.put)
    channel.start()
    assert isinstance(news.get(timeout=LIMIT_S), Asked)
    broken = news.get(timeout=LIMIT_S)
    assert isinstance(broken, Broken)
    assert "deaf" in broken.problem
    assert range_queue.withdraw(["t1"]) == ["t1"]
    channel.stop()


def test_a_channel_that_breaks_costs_a_restart_and_no_range(tmp_path, monkeypatch):
    original = yampl.ServerSocket.try_recv_raw
    heard = []

    def breaks_once(self, timeout=0):
        size, message = original(self, timeout)
        heard.extend([message] if size != -1 else [])
        if len(heard) == 10:
            heard.append(b"")
            raise OSError("the pipe is bent")
        return size, message

    monkeypatch.setattr(yampl.ServerSocket, "try_recv_raw", breaks_once)

    async def scene(stage):
        stage.feed(*range(1, 21))
        await stage.settled(20)
        assert stage.failed == {}
        assert stage.payload._account.runs == 2

    play(scene, tmp_path)


def test_a_channel_that_cannot_be_opened_ends_the_payload(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no more pipes")

    monkeypatch.setattr(yampl, "ServerSocket", refuse)

    async def scene(stage):
        with pytest.raises(PayloadError, match="no channel to AthenaMP: OSError: no more pipes"):
            await stage.payload.poll(1.0)

    play(scene, tmp_path)


def test_no_more_ranges_are_out_than_may_be():
    """The count is the thread's: a range it has given counts before the owner has heard of it."""
    with open_line() as line:
        line.channel.account(0, 0, 1)
        for number in (1, 2, 3):
            line.range_queue.put(f"t{number}", b"range %d" % number)
        line.say()
        assert line.hear() == b"range 1"
        line.told(Asked, Given)
        assert line.channel.is_full
        line.say()
        while line.channel.starved_since is None:
            time.sleep(0.001)
        assert line.channel.flush(b"flush"), "a worker whose range is withheld can be flushed like one there is none for"
        assert line.hear() == b"flush"
        line.say()
        line.channel.account(1, 0, 1)
        assert line.hear() == b"range 2"
        line.say()
        line.channel.account(2, 1, None)
        assert line.hear() == b"range 3"
