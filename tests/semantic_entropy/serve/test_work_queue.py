"""Which jobs run in one call, and what becomes of a job whose time is over."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy.serve import ServiceSettings, WorkQueue, create_app
from semantic_entropy_plugins.text import fact_comparison
from tests.semantic_entropy.serve.serving import serving


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([1, 1, 1, 1], [[1, 1, 1], [1]]),  # batch: at most 3
        ([4, 4, 4], [[4, 4], [4]]),  # most: 10
        ([50, 1, 1], [[50], [1, 1]]),
        ([1, 50, 1], [[1], [50], [1]]),
        ([5, 5], [[5, 5]]),
    ],
)
def test_a_large_job_runs_alone_and_small_ones_together(sizes, calls):
    seen, begun, may_run = [], threading.Event(), threading.Event()

    def run(items):
        begun.set()
        may_run.wait(60)
        if items != [0]:
            seen.append(list(items))
        return items

    async def submit_all():
        queue = WorkQueue("test", run, threads=1, capacity=10, batch=3, weigh=lambda size: size, most=10)
        first = asyncio.ensure_future(queue.submit(0))
        await asyncio.to_thread(begun.wait, 60)  # the thread waits in this job until all others are there
        jobs = [asyncio.ensure_future(queue.submit(size)) for size in sizes]
        await asyncio.sleep(0)
        assert queue.waiting == len(sizes)
        may_run.set()
        try:
            assert await asyncio.gather(first, *jobs) == [0, *sizes]
        finally:
            queue.close()

    asyncio.run(submit_all())
    assert seen == calls


def test_a_body_of_long_numbers_ends_with_504_and_its_work_stops(monkeypatch):
    """Twenty answers of 49,000 characters of numbers take half a minute; others get their replies meanwhile."""
    read, plain_read = [], fact_comparison._read

    def counted(question, answer):
        read.append(len(answer))
        return plain_read(question, answer)

    monkeypatch.setattr(fact_comparison, "_read", counted)
    large = {"responses": [f"{'5 km ' * 9_799}{number}" for number in range(20)]}
    app = create_app(ServiceSettings(threads=1, timeout=2))

    async def run():
        async with serving(app) as client:
            failed = await client.post("/v1/estimate", json=large)
            statuses = []
            while not statuses or statuses[-1] == 504:  # the only thread reads an answer to its end
                reply = await client.post("/v1/estimate", json={"responses": ["a", "b", "a"]})
                statuses.append(reply.status_code)
            return failed, statuses

    failed, statuses = asyncio.run(run())
    assert (failed.status_code, statuses[-1]) == (504, 200)
    assert failed.json()["detail"].startswith("the time limit of a request is over")
    assert 0 < sum(length > 1000 for length in read) < 20
