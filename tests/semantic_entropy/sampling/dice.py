"""A sampler without a model, for tests: the question and the number of the sample determine the text."""

from __future__ import annotations

import random
import time

from semantic_entropy.errors import SamplingError
from semantic_entropy.plugin import Sample, SampleFailure, Sampler, Usage

ANSWERS = ("Paris", "It is Paris.", "Rome", "Bern")


class Dice(Sampler):
    """Records its requests. Options make it refuse, draw too few samples, or fail."""

    name = "dice"

    def __init__(self, sides=3, wait=0.0, refuses="", short=0, breaks_after=None, fails=""):
        self.sides, self.wait, self.refuses, self.short, self.breaks_after = sides, wait, refuses, short, breaks_after
        self.fails = fails
        self.asked = []
        self.drawn = 0

    @property
    def settings(self):
        return ("dice", self.sides)

    def stream(self, requests):
        for request in requests:
            self.asked.append((request.question, request.n, request.first))
            if self.refuses and self.refuses in request.question:
                yield request, SampleFailure("refused")
                continue
            if self.fails and self.fails in request.question:
                yield request, SampleFailure("given up after 7 attempts: HTTP 500", transient=True)
                continue
            for number in range(request.first, request.first + request.n - self.short):
                if self.drawn == self.breaks_after:
                    raise SamplingError("the server is away: start it")
                time.sleep(self.wait)
                self.drawn += 1
                answer = random.Random(f"{request.question} {number}").choice(ANSWERS[: self.sides])
                yield request, Sample(answer, (-0.1, -0.2), "stop", usage=Usage(1, 3, 2))
            if self.short:
                yield request, SampleFailure("the limit is reached")
