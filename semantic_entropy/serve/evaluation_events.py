"""OpenTelemetry events `gen_ai.evaluation.result`, one for each measured answer, through the Logs API.

    gen_ai.evaluation.name           "semantic_entropy"
    gen_ai.evaluation.score.value    the entropy in nats; left out if it is not known
    gen_ai.evaluation.score.label    the action of the decision, or "unknown"
    gen_ai.evaluation.explanation    the reasons of the decision, which can quote an answer
    gen_ai.response.id               the id that the request names
    error.type                       why nothing was measured, if it was a failure

If a request has the header `traceparent`, the event belongs to that span. The conventions are "development" at
open-telemetry/semantic-conventions-genai (model/gen-ai/events.yaml, read 2026-11-27), so the names can change.
Without a telemetry setting, nothing is sent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from semantic_entropy.errors import MissingDependencyError, install_command
from semantic_entropy.serve.service_settings import Telemetry

EVENT = "gen_ai.evaluation.result"
EVALUATION = "semantic_entropy"
UNKNOWN = "unknown"
_OTLP = "opentelemetry-exporter-otlp-proto-http"


class _Emits(Protocol):
    def emit(self, record: Any) -> None: ...


class EvaluationEvents:
    """Sends events. `close` sends those that wait.

    Args:
        telemetry: "none", "console" or "otlp".
        exporter: another log exporter of the OpenTelemetry SDK, for tests and programs.
    """

    def __init__(self, telemetry: Telemetry = "none", exporter: Any = None) -> None:
        self._provider: Any = None
        self._logger: _Emits | None = None
        if telemetry != "none" or exporter is not None:
            self._start(exporter or _exporter(telemetry), at_once=telemetry != "otlp")

    def send(
        self,
        *,
        entropy: float | None,
        label: str | None,
        explanation: str | None = None,
        response_id: str | None = None,
        error_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send an event about one answer."""
        if self._logger is None:
            return
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attributes = {
            "gen_ai.evaluation.name": EVALUATION,
            "gen_ai.evaluation.score.value": entropy,
            "gen_ai.evaluation.score.label": label,
            "gen_ai.evaluation.explanation": explanation,
            "gen_ai.response.id": response_id,
            "error.type": error_type,
        }
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=TraceContextTextMapPropagator().extract(dict(headers or {})),
                severity_number=SeverityNumber.INFO,
                event_name=EVENT,
                attributes={name: value for name, value in attributes.items() if value is not None},
            )
        )

    def close(self) -> None:
        """Send what waits, and stop."""
        if self._provider is not None:
            self._provider.shutdown()

    def _start(self, exporter: Any, *, at_once: bool) -> None:
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
        from opentelemetry.sdk.resources import Resource

        import semantic_entropy

        named = {"service.name": "semantic-entropy", "service.version": semantic_entropy.__version__}
        self._provider = LoggerProvider(resource=Resource.create(named))
        processor = SimpleLogRecordProcessor if at_once else BatchLogRecordProcessor
        self._provider.add_log_record_processor(processor(exporter))
        self._logger = self._provider.get_logger("semantic_entropy.serve", semantic_entropy.__version__)


def _exporter(telemetry: Telemetry) -> Any:
    if telemetry == "console":
        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

        return ConsoleLogRecordExporter(out=sys.stderr)
    try:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    except ImportError as error:
        raise MissingDependencyError(
            f"--telemetry otlp needs {_OTLP}, not installed here: {install_command(_OTLP)}"
        ) from error
    return OTLPLogExporter()
