"""Run the app with uvicorn, in this process or in several worker processes.

uvicorn starts a worker again if it dies, and ends the workers after SIGTERM: each finishes its requests first. The log
has no lines about requests, because answers may be private.

The settings, and the token in them, reach a worker through the pipe with which `multiprocessing` starts it. They are in
the environment of no worker and of no child process of a judge or a sampler. The environment with which this process
was started can hold the token, see cli/serve.
"""

from __future__ import annotations

import contextlib
import errno
import logging
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
from uvicorn.supervisors.multiprocess import Process

from semantic_entropy.errors import InputError
from semantic_entropy.serve.measuring_service import MeasuringService
from semantic_entropy.serve.service_metrics import DIRECTORY_VARIABLE
from semantic_entropy.serve.service_settings import ServiceSettings

_LOG = logging.getLogger("semantic_entropy.serve")
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


def run_service(settings: ServiceSettings, factory: AppFactory, on_ready: Callable[[], object] = lambda: None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    With several workers, the judge is loaded once before they start, so that an error is reported once.

    Args:
        settings: the settings.
        factory: returns the app from the settings, in each worker process.
        on_ready: called once, in this process, when the service answers: it listens, and a judge is loaded.

    Raises:
        InputError: the service cannot listen on the address, such as a port that is in use.
        SystemExit: the app, or a worker process, cannot start. The reason is in the log.
    """
    sockets = _bound_sockets(settings.host, settings.port)  # before the judge is loaded, which can take minutes
    if settings.workers > 1:  # a worker that cannot start would be started again for ever
        MeasuringService(settings).close()
    with contextlib.ExitStack() as stack:
        for each in sockets:
            stack.callback(each.close)
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
        if settings.workers > 1:
            _Workers(config, sockets, on_ready).run()
        else:
            with contextlib.suppress(KeyboardInterrupt):
                _OneProcess(config, on_ready).run(sockets)


class _OneProcess(uvicorn.Server):
    """Serves in this process."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the app, listen, and say so."""
        try:
            await super().startup(sockets)
        except OSError as error:  # another program has begun to listen while the judge was loaded
            await self.lifespan.shutdown()
            raise _cannot_listen(self.config.host, self.config.port, error) from error
        if self.started:
            self._on_ready()


class _Workers(Multiprocess):
    """Serves in several worker processes. Until one of them answers, a worker that ends is a failed start."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], on_ready: Callable[[], object]) -> None:
        super().__init__(config, sockets)
        self._on_ready, self._is_ready = on_ready, False

    def run(self) -> None:
        """Serve. Raise SystemExit if a worker cannot start."""
        super().run()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            sys.exit(STARTUP_FAILURE)

    def keep_subprocess_alive(self) -> None:
        """Start dead workers again. uvicorn calls this method twice a second."""
        if self._is_ready or self.should_exit.is_set():  # after Ctrl-C, the workers have ended too
            super().keep_subprocess_alive()
        elif any(map(_serves, self.processes)):
            self._is_ready = True
            self._on_ready()
        elif any(process.exitcode is not None for process in self.processes):
            _LOG.error("a worker process ended before it served: the service ends")
            self.terminate_all()
            sys.exit(STARTUP_FAILURE)


def _serves(process: Process) -> bool:
    """Whether a worker answers requests. Late replies to earlier checks are read first: they would delay this one."""
    if process.exitcode is not None:
        return False
    with contextlib.suppress(OSError, EOFError):
        while process.parent_conn.poll():
            if process.parent_conn.recv():
                return True
    return process.is_ready(timeout=1)


def _bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host. None listens yet: clients are refused until a judge is loaded."""
    bound: list[socket.socket] = []
    failed: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InputError(f"--host {host} is not an address: use 127.0.0.1, or an address of this machine") from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            each = socket.socket(family, kind, protocol)
            bound.append(each)
            if os.name == "posix":  # a port can be used again at once after the service has ended
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the IPv4 address has its own socket
            # asyncio sets this option only for sockets that it has made itself. Without it, a reply can wait for 40 ms,
            # until the client acknowledges the headers. Accepted connections inherit the option.
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.bind(address)
        except OSError as error:
            failed = error
            if bound:
                bound.pop().close()
            if error.errno != errno.EADDRNOTAVAIL:  # `localhost` can have an IPv6 address that the machine lacks
                break
    if failed is not None and (failed.errno != errno.EADDRNOTAVAIL or not bound):
        for each in bound:
            each.close()
        raise _cannot_listen(host, port, failed) from failed
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(f"port {port} of {host} is in use: choose another --port, or end the program that uses it")
    return InputError(f"cannot listen on port {port} of {host}: {error.strerror}: choose another --host or --port")


def _app_of_worker(factory: AppFactory, settings: ServiceSettings) -> Any:
    _end_with_supervisor()
    return factory(settings)
