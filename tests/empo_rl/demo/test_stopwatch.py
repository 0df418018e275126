import pytest

from empo_rl.demo import stopwatch
from empo_rl.demo.stopwatch import Stopwatch


class Clock:
    """Shows the time that a test sets."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_a_stage_counts_what_happens_inside_it_each_time(clock):
    watch = Stopwatch()
    for began, ended in ((10, 13), (20, 24)):
        clock.now = began
        with watch.stage("train"):
            clock.now = ended
    assert watch.seconds() == {"train": 7}


def test_what_a_kill_lost_is_not_counted_and_what_was_kept_is(clock):
    first = Stopwatch()
    with first.stage("total"), first.stage("train"):
        clock.now = 30
        kept = first.state_dict()
        clock.now = 50  # lost: after the checkpoint
    clock.now = 1000
    second = Stopwatch()
    with second.stage("total"):
        clock.now = 1004  # loading
        with second.stage("train"):
            clock.now = 1005
            second.load_state_dict(kept)
            clock.now = 1025
    assert kept == {"total": 30, "train": 30}
    assert second.seconds() == {"total": 55, "train": 51}
