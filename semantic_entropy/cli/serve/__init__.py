"""`semantic-entropy serve`: an HTTP service that measures and decides."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semantic_entropy.cli.estimate import entropy_gate_options
from semantic_entropy.cli.options import (
    SAMPLER_OPTIONS,
    FiniteNumber,
    cache_option,
    calibration_options,
    measuring_options,
    parse_options,
    scorer_arguments,
)
from semantic_entropy.errors import InputError, MissingDependencyError, install_command
from semantic_entropy.plain_text import plural
from semantic_entropy.results import MAX_UNDECIDED

if TYPE_CHECKING:
    from semantic_entropy.serve import ServiceSettings

TOKEN_VARIABLE = "SEMANTIC_ENTROPY_TOKEN"  # the name of a variable
_MODULES = ("fastapi", "uvicorn", "prometheus_client", "opentelemetry", "sentencex")
_COUNT = click.IntRange(1)
_SECONDS = FiniteNumber(0, min_open=True)
_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="The address; other than loopback: a token."),
    click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port."),
    click.option("--workers", default=1, show_default=True, type=_COUNT, help="Worker processes."),
    click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False),
        help=f"The file with the bearer token of clients; default: the environment variable {TOKEN_VARIABLE}.",
    ),
    *SAMPLER_OPTIONS,
    click.option("-n", "n", default=10, show_default=True, type=_COUNT, help="Responses that the sampler draws."),
    entropy_gate_options,
    click.option(
        "--fail-on",
        default="defer",
        show_default=True,
        type=click.Choice(["warn", "defer", "block"]),
        help="The mildest decision that a guardrail blocks.",
    ),
    click.option(
        "--block-above",
        default=0.5,
        show_default=True,
        type=FiniteNumber(0, 1),
        metavar="P",
        help="With --calibration: the highest p(wrong) that is not blocked.",
    ),
    click.option(
        "--max-undecided",
        default=MAX_UNDECIDED,
        show_default=True,
        type=FiniteNumber(0, 1),
        metavar="SHARE",
        help="The largest share of the compared pairs without a verdict.",
    ),
    click.option(
        "--on-unknown",
        default="block",
        show_default=True,
        type=click.Choice(["block", "allow"]),
        help="What a gateway is told if nothing could be measured.",
    ),
    click.option(
        "--compare",
        default="whole",
        show_default=True,
        type=click.Choice(["whole", "answer"]),
        help="What a gateway's response is compared by: each sentence, or only the answer that the judge reads in it.",
    ),
    click.option(
        "--new-words",
        default="block",
        show_default=True,
        type=click.Choice(["block", "allow"]),
        help="Whether a gateway's response may have words, or an order of words, that no sample with the same meaning "
        "has.",
    ),
    click.option(
        "--max-pairs",
        default=500,
        show_default=True,
        type=_COUNT,
        help="The most pairs of a sentence and a sample that a judge with a model compares for one response.",
    ),
    click.option(
        "--ask-last-turn",
        is_flag=True,
        help="Of a conversation with several messages, ask the sampler the last user message alone.",
    ),
    click.option("--queue", default=64, show_default=True, type=_COUNT, help="Waiting requests of a worker."),
    click.option("--threads", default=2, show_default=True, type=_COUNT, help="Measuring threads of a worker."),
    click.option("--batch", default=8, show_default=True, type=_COUNT, help="Requests that are measured in one run."),
    click.option(
        "--sampling-threads", default=16, show_default=True, type=_COUNT, help="Threads that wait for the sampler."
    ),
    click.option("--timeout", default=60.0, show_default=True, type=_SECONDS, help="Seconds for one request."),
    click.option("--max-body", default=1_000_000, show_default=True, type=_COUNT, help="Bytes of a request."),
    click.option("--max-responses", default=64, show_default=True, type=_COUNT, help="Responses of a group."),
    click.option("--drain-seconds", default=30.0, show_default=True, type=_SECONDS, help="Seconds after SIGTERM."),
    click.option(
        "--telemetry",
        default="none",
        show_default=True,
        type=click.Choice(["none", "console", "otlp"]),
        help="Where the OpenTelemetry events gen_ai.evaluation.result go.",
    ),
)


def service_options(command: Any) -> Any:
    """Add to a command the options of a service. `service_settings` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return calibration_options(measuring_options(cache_option(command)))


def service_settings(choices: dict[str, Any]) -> ServiceSettings:
    """Return the settings that the options describe.

    Raises:
        MissingDependencyError: the extra `serve` is not installed.
        InputError: an option cannot be used.
    """
    from importlib.util import find_spec

    if missing := [name for name in _MODULES if find_spec(name) is None]:
        command = install_command("semantic-entropy[serve]")
        raise MissingDependencyError(f"the service needs {', '.join(missing)}, not installed here: {command}")
    from dataclasses import fields

    from semantic_entropy.serve import ServiceSettings

    names = {each.name for each in fields(ServiceSettings)}
    given = {name: choices.pop(name) for name in list(choices) if name in names}
    file = choices.pop("token_file")
    of_environment = os.environ.pop(TOKEN_VARIABLE, None)  # a child process of a judge or a sampler must not get it
    token = Path(file).read_text(encoding="utf-8").strip() if file else of_environment or None
    sampler_options = parse_options(choices.pop("sampler_options"))
    if sampler_options and not choices["sampler"]:
        raise InputError("--sampler-option needs --sampler NAME: it sets an option of that sampler")
    if choices["sampler"]:
        choices["sampler_options"] = sampler_options
    return ServiceSettings(choices=scorer_arguments(choices), token=token, **given)


@click.command("serve")
@service_options
def serve_command(**choices: Any) -> None:
    """Answer HTTP requests: measure responses, decide about answers, guard a gateway.

    POST /v1/estimate and /v1/decide take {"question": ..., "responses": [...]}. POST
    /beta/litellm_basic_guardrail_api is LiteLLM's Generic Guardrail API, and POST /verify the verify endpoint of vLLM's
    Semantic Router. GET /health, /ready, /metrics and /openapi.json say how the service is.

    With --sampler, the service draws further responses where one response alone arrives. Where nothing can be measured,
    gateways get the action of --on-unknown, with the reason.

    SIGTERM and Ctrl-C end the service after the running requests.
    """
    settings = service_settings(choices)
    from semantic_entropy.serve import create_app, run_service

    run_service(settings, create_app, partial(announce, settings))


def announce(settings: ServiceSettings, *, limits: bool = True) -> None:
    """Print where the service answers.

    Args:
        settings: the settings.
        limits: whether to print also what /v1/decide and the gateways cannot do with these settings.
    """
    if limits:
        _print_limits(settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    click.echo(
        f"http://{host}:{settings.port} ({plural(settings.workers, 'worker')}); Ctrl-C ends the service", err=True
    )


def _print_limits(settings: ServiceSettings) -> None:
    if not settings.decides:
        click.echo("no --calibration and no --fail-above: nothing is allowed by /v1/decide or a guardrail", err=True)
    if not settings.choices.get("sampler"):
        click.echo("no --sampler: /verify and single responses of a guardrail are unknown", err=True)
    elif settings.workers > 1:
        click.echo(
            "each worker keeps the questions of LiteLLM's calls for itself: with mode [pre_call, post_call], "
            "use --workers 1",
            err=True,
        )
