"""What a node knows of its ranges."""

import numpy as np

from raythena.engine.node_messages import CoordinatorReply
from raythena.runtime import range_book
from raythena.runtime.range_book import RangeBook
from raythena.testing.simulation.samples import small_job


def reply(*ranges, **more):
    return CoordinatorReply(leases=(np.asarray(ranges, dtype=np.int64),), **more)


def held(*ranges):
    return lambda: np.asarray(ranges, dtype=np.int64)


def test_a_range_is_tried_for_the_first_time_unless_its_lease_says_otherwise():
    book = RangeBook(small_job((8,), 4))
    book.learn(reply(0, 1, attempts=((1, 2),)), held())
    assert (book.attempt(0), book.attempt(1)) == (1, 2)
    book.learn(reply(1, attempts=((1, 3),)), held())
    assert book.attempt(1) == 3


def test_what_is_not_held_any_more_is_forgotten_after_a_while(monkeypatch):
    monkeypatch.setattr(range_book, "_TIDY_ABOVE", 2)
    book = RangeBook(small_job((8,), 4))
    book.learn(reply(0, 1, 2, attempts=((0, 2), (1, 2), (2, 2))), held())
    book.learn(reply(3, attempts=((3, 5),)), held(2))
    assert [book.attempt(index) for index in range(4)] == [1, 1, 2, 5]


def test_a_range_of_the_inputs_needs_no_telling():
    book = RangeBook(small_job((8,), 4))
    assert book.event_range(3).first_event == 4
    assert book.output_of(3) == 0
    assert book.output_of(4) == 1
