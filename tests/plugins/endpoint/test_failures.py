"""The meaning of failed attempts, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.endpoint.failures import FailedAttempt, read_answer, read_retry_after
from semantic_entropy_plugins.endpoint.key import Key


@pytest.mark.timeout(60)  # a pattern that is tried at every character would take hours
@pytest.mark.parametrize("parameter", ["response_format", "logprobs", "max_tokens", "temperature", "top_p"])
def test_a_long_refusal_is_searched_in_linear_time(parameter):
    page = "<html>" + "x" * 5_000_000
    failed = read_answer(400, httpx.Headers(), page, Key(""))
    assert not failed.refuses(parameter)
    assert len(failed.message) == 10_000
    assert not FailedAttempt("refused", "the whole page", message=page).refuses(parameter)


RETRY_AFTER = [
    (None, None, None),
    ("7", 7, 7),
    ("1.5", 1.5, 1.5),
    ("-3", 0, 0),
    ("soon", None, None),
    ("nan", None, None),
    ("1e999", None, None),
    ("", None, None),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9, 1e12),
]


@pytest.mark.parametrize(("header", "least", "most"), RETRY_AFTER)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, least, most):
    seconds = read_retry_after(header)
    assert seconds is None if least is None else least <= seconds <= most


@pytest.mark.parametrize(("ahead", "least", "most"), [(3600, 3000, 3600), (-3600, 0, 0)])
def test_a_date_in_retry_after_is_converted_to_seconds_from_now(ahead, least, most):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    assert least <= read_retry_after(date) <= most


@given(st.text())
def test_no_value_of_retry_after_raises(header):
    seconds = read_retry_after(header)
    assert seconds is None or seconds >= 0
