"""Run the app with uvicorn, in this process or in several worker processes.

uvicorn starts a worker again if it dies, and ends the workers after SIGTERM: each finishes its requests first. The log
has no lines about requests, because answers may be private.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading

import uvicorn

from semantic_entropy.serve.measuring_service import MeasuringService
from semantic_entropy.serve.service_metrics import DIRECTORY_VARIABLE
from semantic_entropy.serve.service_settings import SETTINGS_VARIABLE, ServiceSettings

_HEALTH_CHECK = 60  # seconds; a long regular expression holds the interpreter, and is no reason to kill the worker
APP_FACTORY = "semantic_entropy.serve:app_from_environment"


def end_with_supervisor() -> None:
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


def run_service(settings: ServiceSettings, factory: str = APP_FACTORY) -> None:
    """Serve until SIGTERM or Ctrl-C.

    With several workers, the judge is loaded once before they start, so that an error is reported once.

    Args:
        settings: the settings.
        factory: module:function that returns the app from the settings in the environment.
    """
    if settings.workers > 1:  # a worker that cannot start would be started again for ever
        MeasuringService(settings).close()
    os.environ[SETTINGS_VARIABLE] = settings.to_json()
    with contextlib.ExitStack() as stack:
        if settings.workers > 1:  # one process needs no files; and uvicorn would end it before they are removed
            folder = tempfile.TemporaryDirectory(prefix="semantic-entropy-metrics-")
            os.environ[DIRECTORY_VARIABLE] = stack.enter_context(folder)
        uvicorn.run(
            factory,
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=int(settings.drain_seconds) or 1,
            timeout_worker_healthcheck=_HEALTH_CHECK,
        )
