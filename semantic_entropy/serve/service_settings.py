"""The settings of the service, with checks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from semantic_entropy.decisions import ACTIONS, MIN_SAMPLES, Action
from semantic_entropy.errors import InputError
from semantic_entropy.results import MAX_UNDECIDED

OnUnknown = Literal["block", "allow"]
Compare = Literal["whole", "answer"]
NewWords = Literal["block", "allow"]
Telemetry = Literal["none", "console", "otlp"]
_SHORTEST_TOKEN = 16  # characters; a shorter token can be guessed
_LARGEST = 1e6  # seconds or nats; infinity is a typing mistake
_AT_LEAST_ONE = (
    "workers",
    "threads",
    "sampling_threads",
    "queue",
    "batch",
    "max_pairs",
    "max_responses",
    "max_completions",
    "max_body",
)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a person can choose.

    Attributes:
        choices: the arguments of `Scorer` that JSON can hold. An estimator with options is a list [name, options].
        calibration: the file of a calibration; None: no decision has a guarantee.
        fail_above: the highest entropy that is allowed, in nats; None: the entropy alone decides nothing.
        fail_on: the mildest action that a guardrail blocks: "warn", "defer" or "block".
        block_above: the highest p(wrong) that is not blocked, in [0, 1].
        max_undecided: the largest share of compared pairs without a verdict, in [0, 1].
        on_unknown: what a gateway is told if nothing could be measured: "block" or "allow".
        min_samples: the fewest valid answers of a decision by `fail_above`, and the fewest choices that a guardrail
            measures by themselves.
        compare: what of a response is compared with the samples: "whole", or "answer", which the judge reads in it.
        new_words: whether a response may have words, or an order, that no sample with the same meaning has: "block" or
            "allow".
        max_pairs: the most pairs of a sentence and a sample that a judge with a model compares in one check.
        ask_last_turn: True: of a conversation with several messages, the sampler is asked the last user message alone.
        host: the address to listen on. An address that other machines reach needs a token.
        port: the port.
        workers: the number of worker processes.
        token: the bearer token of clients; None: clients need none.
        queue: the most requests that wait in a worker process; further ones get status 503.
        threads: threads that measure, in a worker process.
        batch: the most waiting requests that are measured in one run.
        sampling_threads: threads that wait for the sampler, in a worker process.
        timeout: seconds until a request gets status 504.
        max_body: the largest body of a request, in bytes.
        max_responses: the most responses of a group.
        max_completions: the most completions of a batch of /v1/score.
        body_seconds: seconds in which the body of a request must arrive.
        drain_seconds: seconds that SIGTERM gives to running requests.
        telemetry: where OpenTelemetry events go: "none", "console" or "otlp".
    """

    choices: Mapping[str, Any] = field(default_factory=dict)
    calibration: str | None = None
    fail_above: float | None = None
    fail_on: Action = "defer"
    block_above: float = 0.5
    max_undecided: float = MAX_UNDECIDED
    on_unknown: OnUnknown = "block"
    min_samples: int = MIN_SAMPLES
    compare: Compare = "whole"
    new_words: NewWords = "block"
    max_pairs: int = 500
    ask_last_turn: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    queue: int = 64
    threads: int = 2
    batch: int = 8
    sampling_threads: int = 16
    timeout: float = 60.0
    max_body: int = 1_000_000
    max_responses: int = 64
    max_completions: int = 4096
    body_seconds: float = 30.0
    drain_seconds: float = 30.0
    telemetry: Telemetry = "none"

    def __post_init__(self) -> None:
        self._check_access()
        self._check_numbers()
        for name, allowed in (
            ("fail_on", ACTIONS[1:]),
            ("on_unknown", get_args(OnUnknown)),
            ("compare", get_args(Compare)),
            ("new_words", get_args(NewWords)),
            ("telemetry", get_args(Telemetry)),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}: use one of {', '.join(allowed)}")

    def _check_access(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise InputError(
                    f"--host {self.host} can be reached from other machines, and there is no token: set the "
                    "environment variable SEMANTIC_ENTROPY_TOKEN, or --token-file FILE, or listen on 127.0.0.1"
                )
        elif len(self.token) < _SHORTEST_TOKEN:
            raise InputError(
                f"the token has {len(self.token)} characters: use at least {_SHORTEST_TOKEN}, for example the output "
                "of `openssl rand -hex 32`"
            )
        elif not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise InputError(
                "the token has a space or a character that an HTTP header cannot hold: use letters, digits"
            )

    def _check_numbers(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.min_samples < 2:
            raise InputError(f"min_samples is {self.min_samples}: one answer has no entropy; use at least 2")
        for name in ("timeout", "body_seconds", "drain_seconds"):
            if not 0 < getattr(self, name) < _LARGEST:  # also nan
                raise InputError(f"{name} is {getattr(self, name)}: it must be a number of seconds above 0")
        if self.fail_above is not None and not 0 <= self.fail_above < _LARGEST:  # also nan
            raise InputError(f"fail_above is {self.fail_above}: it is an entropy in nats, at least 0")
        for name in ("block_above", "max_undecided"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: it is a share in [0, 1]")

    @property
    def decides(self) -> bool:
        """Whether there is a rule that can allow an answer: a calibration, or a limit of the entropy."""
        return self.calibration is not None or self.fail_above is not None


def is_loopback(host: str) -> bool:
    """Whether an address is this machine alone."""
    if host.rstrip(".").casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name: it may be any machine
        return False
