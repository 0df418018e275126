"""Requests drawn from the OpenAPI schema: no reply is a server error, and each has the form that the schema says.

The test runner of schemathesis does not work with this pytest, so hypothesis draws its requests directly.
"""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra dev)")
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.semantic_entropy.serve.test_running_service import TOKEN, running

ROUTES = [
    ("POST", "/v1/estimate"),
    ("POST", "/v1/decide"),
    ("POST", "/v1/score"),
    ("POST", "/beta/litellm_basic_guardrail_api"),
    ("POST", "/verify"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
]
positive_data_acceptance = schemathesis.checks.positive_data_acceptance
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def schema():
    """The schema of a running empo-serve, which has all routes."""
    options = ["--reward-equivalence", "exact", "--fail-above", "0.7"]
    with running(*options, module="empo_rl.serve.cli", command=(), env={"SEMANTIC_ENTROPY_TOKEN": TOKEN}) as (_, url):
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", headers=HEADERS)


def test_every_route_of_the_schema_is_drawn(schema):
    found = [(result.ok().method.upper(), result.ok().path) for result in schema.get_all_operations()]
    assert sorted(found) == sorted(ROUTES)


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [(*route, mode) for route in ROUTES for mode in (POSITIVE, NEGATIVE) if (route[0], mode) != ("GET", NEGATIVE)]


@pytest.mark.parametrize(("method", "path", "mode"), CASES, ids=lambda value: str(getattr(value, "value", value)))
def test_every_reply_is_one_that_the_schema_describes(schema, method, path, mode):
    """Status 422 is right for a body of the documented form in which lengths do not agree: a schema cannot say that."""
    statuses = set()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def check(case):
        statuses.add(case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance]).status_code)

    check()
    allowed = {200, 422} if mode is POSITIVE else {200, 400, 405, 415, 422}
    assert statuses <= allowed
    assert (200 if mode is POSITIVE else 422) in statuses
