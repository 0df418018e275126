"""Run the app with uvicorn, in this process or in several worker processes.

uvicorn starts a worker again if it dies, and ends the workers after SIGTERM: each finishes its requests first. The log
has no lines about requests, because answers may be private.

The settings, and the token in them, reach a worker through the pipe with which `multiprocessing` starts it. They are in
the environment of no worker and of no child process of a judge or a sampler. The environment with which this process
was started can hold the token, see cli/serve.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from semantic_entropy.serve.measuring_service import MeasuringService
from semantic_entropy.serve.service_metrics import DIRECTORY_VARIABLE
from semantic_entropy.serve.service_settings import ServiceSettings

_HEALTH_CHECK = 60  # seconds; a long regular expression holds the interpreter, and is no reason to kill the worker
_MOST_CONNECTIONS = 1000  # of a worker; each can hold a body of --max-body bytes. Further ones get status 503
AppFactory = Callable[[ServiceSettings], Any]
"""Returns the ASGI app. It is pickled, so it is a function of a module, or a `partial` of one with plain values."""


def _end_with_supervisor() -> None:
    """End this worker process, after its running requests, when the process that started it has ended.

    Otherwise the workers of a killed service keep the port, and answer with its old settings and token.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([supervisor.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)  # uvicorn finishes the running requests

    threading.Thread(target=watch, name="end with supervisor", daemon=True).start()


def run_service(settings: ServiceSettings, factory: AppFactory) -> None:
    """Serve until SIGTERM or Ctrl-C.

    With several workers, the judge is loaded once before they start, so that an error is reported once.

    Args:
        settings: the settings.
        factory: returns the app from the settings, in each worker process.
    """
    if settings.workers > 1:  # a worker that cannot start would be started again for ever
        MeasuringService(settings).close()
    with contextlib.ExitStack() as stack:
        if settings.workers > 1:  # one process needs no files; and uvicorn would end it before they are removed
            folder = tempfile.TemporaryDirectory(prefix="semantic-entropy-metrics-")
            os.environ[DIRECTORY_VARIABLE] = stack.enter_context(folder)
        config = uvicorn.Config(
            partial(_app_of_worker, factory, settings),
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            log_level="warning",
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(settings.drain_seconds) or 1,
            timeout_worker_healthcheck=_HEALTH_CHECK,
        )
        _run(config)


def _run(config: uvicorn.Config) -> None:
    """Run the server as `uvicorn.run` does, which takes no function for several workers."""
    if config.workers > 1:
        listening = config.bind_socket()
        # asyncio sets this option only for sockets that it has made itself. Without it, a reply can wait for 40 ms,
        # until the client acknowledges the headers. Accepted connections inherit the option.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Multiprocess(config, sockets=[listening]).run()
        return
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _app_of_worker(factory: AppFactory, settings: ServiceSettings) -> Any:
    _end_with_supervisor()
    return factory(settings)
