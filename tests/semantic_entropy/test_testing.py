"""`check_sampler`: a correct sampler passes, and each broken rule is named."""

from __future__ import annotations

import threading

import pytest

from semantic_entropy.plugin import Sample, SampleFailure
from semantic_entropy.testing import ConformanceError, check_sampler
from tests.semantic_entropy.sampling.dice import Dice


def test_a_correct_sampler_passes():
    check_sampler(Dice())
    check_sampler(Dice(refuses="Why"))
    check_sampler(Dice(short=2), questions=["a", "b"], n=5)


class Unpredictable(Dice):
    def __init__(self):
        super().__init__()
        self.readings = 0

    @property
    def settings(self):
        self.readings += 1
        return ("dice", self.readings)


class Unruly(Dice):
    rules = "2"


class Opaque(Dice):
    settings = ("dice", ("inside", object()))


class Greedy(Dice):
    def stream(self, requests):
        yield from super().stream(iter(list(requests)))


class Unstoppable(Dice):
    """Continues in a thread that is not stopped."""

    def stream(self, requests):
        def continue_reading():
            for _ in requests:
                threading.Event().wait(0.001)

        first = next(iter(requests), None)
        if first is None:
            return
        if first.n == 1:
            threading.Thread(target=continue_reading, daemon=True).start()
            yield first, Sample("x")
        else:
            yield from super().stream([first, *requests])


def drawing(*outcomes):
    """A sampler that yields these outcomes for each request, whatever the request is."""

    class Drawing(Dice):
        def stream(self, requests):
            for request in requests:
                yield from ((request, one) for one in outcomes)

    return Drawing()


def broken_stream(stream):
    return type("Broken", (Dice,), {"stream": stream})()


GOOD = Sample("x", (-0.5,), "stop")
FAILURE = SampleFailure("refused")


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        (Unpredictable(), "settings differ from one reading to the next"),
        (Unruly(), "rules is '2'; it is a whole number"),
        (Opaque(), "settings hold <object.*a object: use only plain values"),
        (Greedy(), "it took all of 10000 requests before its first sample"),
        (Unstoppable(), "it did not stop when closed"),
        (drawing(GOOD), "samples are missing without a failure: yield one SampleFailure"),
        (drawing(), "samples are missing without a failure"),
        (drawing(FAILURE, GOOD), "yielded Sample.* which was not requested or is complete"),
        (drawing(GOOD, FAILURE, FAILURE), "yielded SampleFailure.* which was not requested or is complete"),
        (drawing(*[GOOD] * 3), "yielded Sample.* which was not requested or is complete"),
        (drawing(GOOD, GOOD, FAILURE), "yielded SampleFailure.*is complete"),
        (drawing(GOOD, "text"), "yielded 'text' .*; yield a Sample or a SampleFailure"),
        (drawing(GOOD, Sample(None)), "drew the text None, a NoneType; a text is a str"),
        (drawing(GOOD, Sample("x", (0.5,))), "logprobs hold 0.5: the logarithm of a probability is at most 0"),
        (drawing(GOOD, Sample("x", (float("nan"),))), "logprobs are .nan.*: they must be finite"),
        (drawing(GOOD, Sample("x", "high")), "logprobs 'high'; they are a tuple of floats"),
        (drawing(GOOD, Sample("x", (-0.5,), token_entropies=(1.0, 2.0))), "1 logprobs and 2 token_entropies"),
        (drawing(GOOD, Sample("x", finish_reason=3)), "finish_reason and the reasoning"),
        (drawing(GOOD, Sample("x", usage=3)), "a sample with the usage 3"),
        (drawing(GOOD, SampleFailure("refused", usage=3)), "usage=3.*usage is a Usage or None"),
        (broken_stream(lambda self, requests: iter([("who?", GOOD)])), "yield pairs: a given request, and its Sample"),
        (broken_stream(lambda self, requests: iter([])), "stream.. returned a list_iterator"),
        (broken_stream(lambda self, requests: 1 / 0), "raised ZeroDivisionError"),
        (Dice(breaks_after=1), "the server is away"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_a_broken_rule_is_named(sampler, says):
    with pytest.raises(ConformanceError, match=f"(?s)breaks .* rule.*{says}"):
        check_sampler(sampler, questions=["a", "b"], n=2)
