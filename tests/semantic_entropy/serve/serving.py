"""Run the app in this process for tests, without a socket; and fake model servers' settings."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

BASE = "http://127.0.0.1:8000"


@contextlib.asynccontextmanager
async def serving(app, **client_options):
    """The app with its lifespan, and a client."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=60, **client_options) as client:
            yield client


def ask(app, *calls, **client_options):
    """Send calls (method, path, options) one after another, and return the responses."""

    async def run():
        async with serving(app, **client_options) as client:
            return [await client.request(method, path, **options) for method, path, options in calls]

    return asyncio.run(run())


def post(app, path, body, **client_options):
    """Send one POST with JSON, and return the response."""
    return ask(app, ("POST", path, {"json": body}), **client_options)[0]


def sampler_choices(server, n=5, **options):
    """The choices of a scorer that draws from a fake model server."""
    return {
        "sampler": "openai",
        "sampler_options": {"model": "m", "base_url": server.url, "retries": 0, "timeout": 5, **options},
        "n": n,
    }
