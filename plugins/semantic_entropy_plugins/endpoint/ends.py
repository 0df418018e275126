"""How a call ends that brings no reply: it fails alone, which is data, or no call can succeed, which is an error.

Everything fails where a status says so (see `endpoint.trouble`); where no connection can be made to a server that has
not answered before, or none any more after all retries; and after 20 calls in a row that failed (of those that were
refused, only as long as none has succeeded: afterwards they concern themselves alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.request import getproxies

from semantic_entropy.plugin import Usage, errors
from semantic_entropy_plugins.endpoint.key import VARIABLE
from semantic_entropy_plugins.endpoint.standing import Standing
from semantic_entropy_plugins.endpoint.trouble import Trouble

_IN_A_ROW = 20  # failed calls: by then retries have taken minutes, and the rest would take hours
_LISTED = 20  # models in a message


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no reply. status: the HTTP status, where the server gave one. usage: what was paid.

    transient: the same call may have one another time.
    """

    reason: str
    status: int | None = None
    usage: Usage = field(default=Usage())
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Fatal:
    """Why no call will have a reply any more, and what to do. details: for a report, where it is this code's error."""

    reason: str
    details: str = ""


End: TypeAlias = Failure | Fatal


class Ends:
    """Says how calls to the server at `url` end. `has_key`: whether one was given."""

    def __init__(self, url: str, standing: Standing, has_key: bool) -> None:
        self._url, self._standing, self._has_key = url, standing, has_key

    def refused(self, got: Trouble, usage: Usage, counts: bool) -> End:
        """The server does not take this call. counts: whether it would take no other like it."""
        failure = Failure(got.reason, got.status, usage)
        return self._counted(failure) if counts and not self._standing.succeeded else failure

    def given_up(self, got: Trouble, tries: int, usage: Usage) -> End:
        """All attempts have failed."""
        reason = f"given up after {tries} attempt{'s' * (tries > 1)}, the last: {got.reason}"
        if not self._standing.answered:
            return Fatal(f"{self._url} has never answered: {reason}. Is that the server, and is it well?")
        if got.kind == "away":
            return Fatal(f"{self._url} has answered before and is gone: {reason}. Is the server still running?")
        return self._counted(Failure(reason, got.status, usage, transient=True))

    def unreachable(self, why: str) -> End:
        """The server has never answered."""
        is_proxied = any(scheme in getproxies() for scheme in ("http", "https", "all"))
        through = " through the proxy that the environment names (NO_PROXY exempts hosts)" if is_proxied else ""
        return Fatal(
            f"{self._url} cannot be reached{through}: {why}. Is the server running? base_url= says where it is; usual "
            "addresses are http://localhost:8000/v1 (vLLM), http://localhost:11434/v1 (Ollama) and "
            "http://localhost:8080/v1 (llama.cpp)"
        )

    def stopped(self, got: Trouble, usage: Usage) -> End:
        """The server takes no call at all, or so it seems."""
        if got.status == 403 and self._standing.succeeded:  # some filters refuse a text like that
            return self._counted(Failure(got.reason, got.status, usage))
        cure = ""
        if got.status in (401, 403):
            cure = f"is the key in api_key= or {VARIABLE} right?"
            cure = cure if self._has_key else f"no key was given: pass api_key=, or set {VARIABLE}"
        elif got.status is not None and 300 <= got.status < 400:
            cure = "redirects are not followed: give the final address as base_url="
        return Fatal(f"{self._url}: {got.reason}" + (f" ({cure})" if cure else ""))

    def not_found(self, got: Trouble, wanted: str, models: Sequence[str]) -> End:
        """The server does not know the model, or the path. models: what it has, where it says so."""
        cure = f"is base_url={self._url!r} right? It usually ends with /v1"
        if models:
            more = ", ..." if len(models) > _LISTED else ""
            cure = f"the models there: {', '.join(models[:_LISTED])}{more}.{errors.nearest(wanted, models)}"
        return Fatal(f"{self._url}: {got.reason} ({cure})")

    def _counted(self, failure: Failure) -> End:
        self._standing.failed_in_a_row += 1
        if self._standing.failed_in_a_row < _IN_A_ROW:
            return failure
        return Fatal(f"{self._url}: {_IN_A_ROW} calls in a row have failed, this one so: {failure.reason}")
