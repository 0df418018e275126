"""`empo-serve`: the service of `semantic-entropy serve`, with rewards for a training loop: `POST /v1/score`.

empo-serve --preset official-trl-math --reward-equivalence math --reward-extract boxed
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from empo_rl.core.presets import PRESETS
from semantic_entropy import SemanticEntropyError
from semantic_entropy.cli.serve import announce, service_options, service_settings
from semantic_entropy.plain_text import printable


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The settings of a paper or of its code.")
@click.option("--reward", default=None, metavar="NAME", help="The reward signal; default: that of the preset, or empo.")
@click.option(
    "--provider-option",
    "provider_options",
    multiple=True,
    metavar="K=V",
    help="An argument of EmpoProvider, as key=value with a JSON value; repeatable.",
)
@click.option(
    "--reward-equivalence", default="math", show_default=True, metavar="NAME", help="The judge of the rewards."
)
@click.option("--reward-extract", metavar="HOW", help="How the rewards find the answer in a completion: boxed, ...")
@service_options
@click.version_option(package_name="semantic-entropy")
def main(
    *,
    preset: str | None,
    reward: str | None,
    provider_options: tuple[str, ...],
    reward_equivalence: str,
    reward_extract: str | None,
    **choices: Any,
) -> None:
    """Answer HTTP requests: all routes of `semantic-entropy serve`, and POST /v1/score.

    /v1/score takes {"groups": [{"completions": [...], "question": ..., "gold": ...}]}, and returns for each group its
    clusters, entropy, rewards, whether it is kept, and advantages.
    """
    try:
        from semantic_entropy.cli.options import parse_options

        settings = service_settings(choices)
        arguments = {"equivalence": reward_equivalence, "extract": reward_extract, **parse_options(provider_options)}
        arguments |= {name: value for name, value in (("preset", preset), ("reward", reward)) if value}
        from empo_rl.core.provider import EmpoProvider
        from empo_rl.serve.scoring import complete_arguments, create_scoring_app
        from semantic_entropy.serve import run_service

        with EmpoProvider(**complete_arguments(arguments)):
            pass  # a wrong argument is reported here, once, and not by each worker
        decides = settings.decides or bool(settings.choices.get("sampler"))  # else it serves rewards alone
        on_ready = partial(announce, settings, limits=decides)
        run_service(settings, partial(create_scoring_app, arguments=arguments), on_ready)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error


if __name__ == "__main__":
    main()
