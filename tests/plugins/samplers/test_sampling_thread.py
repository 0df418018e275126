"""Work ahead of its reader: in order, no further than a batch, and gone when nobody reads."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from semantic_entropy.plugin import errors
from semantic_entropy.progress import run_cancellable
from semantic_entropy_plugins.samplers.sampling_thread import in_background

NAME = "work under test"


def running():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_what_batches_hold_comes_one_by_one_in_order():
    assert list(in_background(lambda _: iter_batches([[1, 2], [], [3]]), NAME)) == [1, 2, 3]
    assert not running()


def iter_batches(batches):
    yield from batches


def test_work_goes_on_while_the_reader_is_busy_but_no_further_than_a_batch_that_waits():
    begun = []
    reached = threading.Event()

    def work(stop):
        for number in itertools.count():
            begun.append(number)
            if number == 2:
                reached.set()
            yield [number]

    stream = in_background(work, NAME)
    assert next(stream) == 0
    assert reached.wait(60)  # 0 is read, 1 waits, and 2 is under way
    stream.close()
    assert begun in ([0, 1, 2], [0, 1, 2, 3])  # what it hands over in the end lets it look once more
    assert not running()


def test_closing_sets_the_event_and_waits_until_the_work_has_ended():
    ended = []

    def work(stop):
        try:
            yield [1]
            assert stop.wait(60)
            yield [2]
        finally:
            ended.append(stop.is_set())

    stream = in_background(work, NAME)
    assert next(stream) == 1
    stream.close()
    assert ended == [True]
    assert not running()


def test_an_error_in_the_work_is_raised_in_the_reader_after_what_came_before():
    def work(stop):
        yield [1, 2]
        raise LookupError("gone")

    read = []
    with pytest.raises(LookupError, match="gone"):
        read.extend(in_background(work, NAME))
    assert read == [1, 2]
    assert not running()


def test_an_error_in_the_reader_ends_the_work():
    def work(stop):
        while not stop.is_set():
            yield [1]

    def read():
        for _ in in_background(work, NAME):
            raise KeyError

    with pytest.raises(KeyError):
        read()
    assert not running()


def test_a_reader_whose_task_is_cancelled_waits_for_no_batch():
    begun, raised = threading.Event(), []

    def work(stop):
        begun.set()
        stop.wait(20)  # seconds, after which a reader that does not look gets a batch
        yield []

    def read():
        try:
            list(in_background(work, NAME))
        except errors.SamplingError as error:
            raised.append(str(error))

    async def cancelled():
        task = asyncio.create_task(run_cancellable(read))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())  # which waits for its threads
    assert raised == ["stopped: nobody waits for the rest"]
    assert not running()
