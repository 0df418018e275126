"""An HTTP service that measures and decides: `semantic-entropy serve`. It needs the extra `serve`.

`create_app` returns the ASGI app, and `run_service` runs it with uvicorn. Nothing else in the package imports this
folder, except the command. Docs: how-to/serve.md.

    service_settings     what a person can choose, with checks
    application          the app and its routes
    request_checks       the ASGI layer in front of the routes: token, size, disconnects, errors
    problems             errors as problem JSON (RFC 9457)
    work_queue           a bounded queue before worker threads
    measuring_service    scorer, decision rules, the check of answers against samples
    whole_answers        whether samples say all that an answer says
    wire_models          JSON of the routes under /v1
    gateways             the Generic Guardrail API of LiteLLM, the verify endpoint of vLLM's Semantic Router
    service_metrics      Prometheus
    evaluation_events    OpenTelemetry
    launching            uvicorn, with one or more worker processes
"""

from semantic_entropy.serve.application import create_app
from semantic_entropy.serve.launching import run_service
from semantic_entropy.serve.measuring_service import MeasuringService
from semantic_entropy.serve.problems import PROBLEM_REPLIES, JSONReply, ServiceProblem, error_problem
from semantic_entropy.serve.service_settings import ServiceSettings
from semantic_entropy.serve.work_queue import WorkQueue

__all__ = [
    "PROBLEM_REPLIES",
    "JSONReply",
    "MeasuringService",
    "ServiceProblem",
    "ServiceSettings",
    "WorkQueue",
    "create_app",
    "error_problem",
    "run_service",
]
