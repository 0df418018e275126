"""Work ahead of its reader: in order, at most one batch ahead, and ended with the reader."""

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


def test_the_items_of_batches_arrive_one_by_one_in_order():
    assert list(in_background(lambda _: iter_batches([[1, 2], [], [3]]), NAME)) == [1, 2, 3]
    assert not running()


def iter_batches(batches):
    yield from batches


def test_work_continues_while_the_reader_is_busy_until_one_batch_waits():
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
    assert reached.wait(60)  # 0 is read, 1 waits, and 2 is in work
    stream.close()
    assert begun in ([0, 1, 2], [0, 1, 2, 3])  # the end may let the work start one more batch
    assert not running()


def test_closing_sets_the_event_and_waits_for_the_work():
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


def test_an_error_in_the_work_is_raised_after_the_earlier_items():
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


def test_a_reader_in_a_cancelled_task_does_not_wait_for_a_batch():
    begun, raised = threading.Event(), []

    def work(stop):
        begun.set()
        stop.wait(20)  # seconds; then a reader that ignores the cancellation gets a batch
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

    asyncio.run(cancelled())  # waits for its threads
    assert raised == ["cancelled: the remaining samples were dropped"]
    assert not running()
