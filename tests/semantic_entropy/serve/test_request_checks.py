import asyncio
import logging
import threading

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.responses import JSONResponse

from semantic_entropy.serve import MeasuringService, ServiceSettings, create_app
from semantic_entropy.serve.request_checks import RequestChecks
from semantic_entropy.serve.service_metrics import ServiceMetrics
from tests.semantic_entropy.serve.serving import BASE, ask, post, serving

TOKEN = "correct-horse-battery"
BODY = {"responses": ["a", "a"]}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"X-API-Key": TOKEN}, 200),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": TOKEN[:-1]}, 401),
        ({"Authorization": "Bearer \u00e9\u00e9".encode("latin-1")}, 401),
    ],
)
def test_the_token_is_needed_and_compared_whole(headers, expected):
    app = create_app(ServiceSettings(token=TOKEN))
    reply = post(app, "/v1/estimate", BODY, headers=headers)
    assert reply.status_code == expected
    assert (reply.headers.get("www-authenticate") == "Bearer") is (expected == 401)


def test_without_the_token_only_health_is_open():
    paths = ["/health", "/ready", "/metrics", "/openapi.json", "/verify", "/nowhere"]
    replies = ask(create_app(ServiceSettings(token=TOKEN)), *(("GET", path, {}) for path in paths))
    assert [reply.status_code for reply in replies] == [200, 200, 401, 401, 401, 401]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("[::1]:80", 200),
        ("LOCALHOST.", 200),
        ("example.com", 403),
        ("", 403),
        ("127.0.0.1/evil", 403),
        ("evil@127.0.0.1", 403),
        ("127.0.0.1:80:80", 403),
        ("127.0.0.1 ", 403),
        ("::1", 403),
        ("[::1", 403),
        ("0x7f.1", 403),
        ("localhost,example.com", 403),
        ("127.0.0.1.example.com", 403),
    ],
)
def test_without_a_token_a_name_of_another_machine_is_refused(host, expected):
    """A web page can point a name at 127.0.0.1, and then read the answers of the service."""
    assert post(create_app(ServiceSettings()), "/v1/estimate", BODY, headers={"Host": host}).status_code == expected


def test_two_host_headers_are_refused():
    headers = [("Host", "127.0.0.1"), ("Host", "127.0.0.1")]
    reply = post(create_app(ServiceSettings()), "/v1/estimate", BODY, headers=headers)
    assert reply.status_code == 403
    assert "2 times" in reply.json()["detail"]


def test_no_origin_of_a_web_page_gets_permission():
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    (reply,) = ask(create_app(ServiceSettings()), ("OPTIONS", "/v1/estimate", {"headers": preflight}))
    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_with_a_token_any_host_name_is_served():
    app = create_app(ServiceSettings(token=TOKEN, host="0.0.0.0"))
    headers = {"Host": "guard.example.com", "X-API-Key": TOKEN}
    assert post(app, "/v1/estimate", BODY, headers=headers).status_code == 200


def test_a_body_above_the_limit_is_refused_with_and_without_its_length():
    async def parts():
        for _ in range(100):
            yield b" " * 100

    app = create_app(ServiceSettings(max_body=1000))
    json_type = {"content-type": "application/json"}
    calls = [("POST", "/v1/estimate", {"content": b" " * 1001, "headers": json_type})]
    calls += [("POST", "/v1/estimate", {"content": parts(), "headers": json_type})]
    calls += [("POST", "/v1/estimate", {"json": BODY})]
    assert [reply.status_code for reply in ask(app, *calls)] == [413, 413, 200]


def test_a_body_that_does_not_arrive_is_given_up():
    async def stuck():
        yield b"{"
        await asyncio.sleep(30)

    call = ("POST", "/v1/estimate", {"content": stuck(), "headers": {"content-type": "application/json"}})
    (reply,) = ask(create_app(ServiceSettings(body_seconds=0.05)), call)
    assert reply.status_code == 408


class Gate:
    """Blocks measurements until it is opened."""

    def __init__(self, monkeypatch):
        self.opened, self.entered, self.measured = threading.Event(), threading.Event(), []
        measure = MeasuringService._measure_all

        def wait(service, items):
            self.entered.set()
            assert self.opened.wait(30)
            self.measured += items
            return measure(service, items)

        monkeypatch.setattr(MeasuringService, "_measure_all", wait)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(gate):
    async def run():
        async with serving(create_app(ServiceSettings(queue=2, threads=1, batch=1))) as client:
            first = asyncio.create_task(client.post("/v1/estimate", json=BODY))
            await asyncio.to_thread(gate.entered.wait, 30)
            waiting = [asyncio.create_task(client.post("/v1/estimate", json=BODY)) for _ in range(2)]
            refused = None
            while refused is None or refused.status_code == 200:
                await asyncio.sleep(0.01)
                metrics = (await client.get("/metrics")).text
                if 'semantic_entropy_waiting_requests{queue="measure"} 2.0' in metrics:
                    refused = await client.post("/v1/estimate", json=BODY)
            gate.opened.set()
            return refused, await asyncio.gather(first, *waiting)

    refused, served = asyncio.run(run())
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "2 requests wait" in refused.json()["detail"]
    assert [reply.status_code for reply in served] == [200, 200, 200]


def test_a_request_that_takes_too_long_is_status_504(gate):
    async def run():
        async with serving(create_app(ServiceSettings(timeout=0.05))) as client:
            reply = await client.post("/v1/estimate", json=BODY)
            gate.opened.set()
            return reply, await client.post("/v1/estimate", json=BODY)

    late, next_one = asyncio.run(run())
    assert (late.status_code, next_one.status_code) == (504, 200)


def test_a_client_that_hangs_up_takes_its_waiting_work_along(gate):
    """The app is called directly, as uvicorn does, because a hang-up is a message of the server."""

    async def hang_up_after(body):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/estimate",
            "raw_path": b"/v1/estimate",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
        sent = []

        async def receive():
            if len(messages) == 1:
                await asyncio.sleep(0.05)
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent

    app = create_app(ServiceSettings(threads=1, batch=1))

    async def run():
        async with serving(app) as client:
            first = asyncio.create_task(client.post("/v1/estimate", json=BODY))
            await asyncio.to_thread(gate.entered.wait, 30)
            sent = await hang_up_after(b'{"responses": ["gone", "gone"]}')
            gate.opened.set()
            return sent, await first, (await client.get("/metrics")).text

    sent, first, metrics = asyncio.run(run())
    assert sent == []
    assert first.status_code == 200
    assert [item.responses for item in gate.measured] == [("a", "a")]
    assert 'status="499"} 1.0' in metrics


def test_an_unexpected_error_shows_and_logs_no_text_of_the_request(monkeypatch, caplog):
    def fail(_, items):
        raise ValueError(f"cannot read {items}")

    monkeypatch.setattr(MeasuringService, "_measure_all", fail)
    with caplog.at_level(logging.DEBUG):
        reply = post(create_app(ServiceSettings()), "/v1/estimate", {"responses": ["my secret", "b"]})
    assert reply.status_code == 500
    assert "ValueError" in reply.json()["detail"]
    assert f"status 500: ValueError at {__file__}" in caplog.text
    assert "secret" not in reply.text + caplog.text


def test_an_error_outside_of_the_queue_is_a_problem_and_logged_without_its_message(monkeypatch, caplog):
    def fail(*_):
        raise KeyError("my secret")

    monkeypatch.setattr("semantic_entropy.serve.application.result_fields", lambda *_, **__: fail())
    reply = post(create_app(ServiceSettings()), "/v1/estimate", BODY)
    assert reply.status_code == 500
    assert "KeyError" in caplog.text
    assert "secret" not in reply.text + caplog.text


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"content-type": "application/json"}, 200),
        ({"content-type": "Application/JSON; charset=utf-8"}, 200),
        ({"content-type": "application/problem+json"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "text/plain; application/json"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/jsonp"}, 415),
        ({}, 415),
    ],
)
def test_a_body_that_is_not_declared_as_json_is_refused_with_the_header_to_send(kind, expected):
    """A web page can send text/plain, or no type, to this machine without asking; JSON needs a preflight (CORS)."""
    call = ("POST", "/v1/estimate", {"content": b'{"responses": ["a", "a"]}', "headers": kind})
    (reply,) = ask(create_app(ServiceSettings()), call)
    assert reply.status_code == expected
    assert expected == 200 or "send a JSON object with the header 'Content-Type: application/json'" in reply.text


@pytest.mark.parametrize("path", ["/v1/estimate", "/v1/decide", "/verify", "/beta/litellm_basic_guardrail_api"])
@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"responses": ["a", "a"], "responses": ["b"]}', "responses"),
        (
            b'{"input_type": "response", "additional_provider_specific_params": {"question": 1, "question": 2}}',
            "question",
        ),
        (b'{"question": "a", "qu\\u0065stion": "b"}', "question"),
    ],
)
def test_a_key_that_is_there_twice_is_an_error_that_names_it(path, body, key):
    call = ("POST", path, {"content": body, "headers": {"content-type": "application/json"}})
    (reply,) = ask(create_app(ServiceSettings()), call)
    assert reply.status_code == 422
    (error,) = reply.json()["errors"]
    assert error["field"] == f"body.{key}"
    assert "twice" in error["problem"]


def test_requests_of_other_types_reach_the_app():
    async def run():
        app = create_app(ServiceSettings())
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE) as client,
        ):
            return await client.options("/v1/estimate")

    assert asyncio.run(run()).status_code == 405


def test_a_reply_is_counted_before_its_end_is_sent():
    """So a worker that is killed when the client has its reply has counted it."""
    metrics, at_the_end = ServiceMetrics(), []
    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if not body:
            await asyncio.Event().wait()
        return body.pop()

    async def send(message):
        if message["type"] == "http.response.body":
            at_the_end.append(metrics.text().decode())

    app = RequestChecks(JSONResponse({}), ServiceSettings(), metrics)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(app(scope, receive, send))
    count = 'requests_total{route="other",status="200"} 1.0'
    assert [count in text for text in at_the_end] == [True]
    assert count in metrics.text().decode()
