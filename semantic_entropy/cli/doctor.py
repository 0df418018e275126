"""`semantic-entropy doctor`: check the installation, or whether the answers of a sampler's model vary.

Each problem is printed with what repairs it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import click

from semantic_entropy.cli.options import json_option, parse_options
from semantic_entropy.errors import install_command, uninstall_command
from semantic_entropy.plain_text import printable

_DISTRIBUTION = "semantic-entropy"
_ASK_TORCH = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only')"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: the name of the checked part, such as "python" or "math".
        ok: whether the check passed.
        detail: the text that is printed after the name.
        fix: a command that repairs the problem; empty if there is no problem or no command.
        needed: whether the basic functions of the package need this part.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = False

    @property
    def mark(self) -> str:
        """The first word of the printed line."""
        return "ok  " if self.ok else "FAIL" if self.needed else "none"


class _Observation(Finding):
    """A finding about a sampler."""

    @property
    def mark(self) -> str:
        return "ok  " if self.ok else "FAIL" if self.needed else "warn"


@click.command("doctor")
@click.option("--sampler", metavar="NAME", help="Check the model of this sampler instead: hf, openai, vllm.")
@click.option(
    "--sampler-option",
    "sampler_options",
    multiple=True,
    metavar="K=V",
    help="An option of the sampler, as key=value; repeatable.",
)
@click.option("-q", "--question", help="For --sampler: ask this, which must have very many answers.")
@click.option(
    "-n", "n", default=4, show_default=True, type=click.IntRange(2), help="For --sampler: responses of each request."
)
@json_option
def doctor_command(
    *, sampler: str | None, sampler_options: tuple[str, ...], question: str | None, n: int, as_json: bool
) -> None:
    """Check the installation, and print the command that repairs each problem.

    With --sampler, ask the model one open question twice, with -n responses each time: do its answers vary, or does it
    answer with temperature 0 or from a cache? Do log-probabilities come back, and what did it cost? The exit status is
    1 if the answers are of no use for semantic entropy.
    """
    if sampler is None and (sampler_options or question):
        raise click.UsageError("--sampler-option and --question need --sampler NAME")
    findings = check_installation() if sampler is None else _check_sampler(sampler, sampler_options, question, n)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = click.style(finding.mark, fg="green" if finding.ok else "yellow")
            click.echo(f"{mark} {finding.name:<14} {printable(finding.detail)}")
            if finding.fix:
                click.echo(f"{'':19} fix: {printable(finding.fix)}")
    sys.exit(any(not finding.ok and finding.needed for finding in findings))


def _check_sampler(name: str, options: tuple[str, ...], question: str | None, n: int) -> list[Finding]:
    from semantic_entropy import load_sampler
    from semantic_entropy.sampling.sampler_probe import OPEN_QUESTION, probe_sampler

    sampler = load_sampler(name, **parse_options(options))
    try:
        found = probe_sampler(sampler, question or OPEN_QUESTION, n)
    finally:
        sampler.close()
    asked = f"{found.sampler}: 2 requests for {n} responses to {question or OPEN_QUESTION!r}"
    findings = [_Observation(each.name, each.ok, each.detail, each.fix, each.needed) for each in found.findings()]
    return [Finding("sampler", True, asked), *findings]


def check_installation() -> list[Finding]:
    """Check Python, the judge `math` (with a real pair of answers), the plugins, and every extra."""
    import platform
    from importlib.metadata import metadata, version

    python = Finding("python", True, f"{platform.python_version()}, {_DISTRIBUTION} {version(_DISTRIBUTION)}")
    provided = metadata(_DISTRIBUTION).get_all("Provides-Extra") or ()
    extras = sorted(extra for extra in provided if extra not in ("all", "dev"))
    return [python, _check_math(), *_check_plugins(), check_pytest_plugin(), *map(_check_extra, extras)]


def _check_math() -> Finding:
    """Ask for a verdict that needs the worker processes."""
    from semantic_entropy.errors import SemanticEntropyError
    from semantic_entropy.registry.components import load_equivalence
    from semantic_entropy.types import Pair

    try:
        judge = load_equivalence("math", timeout=30.0, workers=1)
        try:
            (verdict,) = judge.judge([Pair(None, "x+1", "1+x")])
        finally:
            judge.close()
    except (SemanticEntropyError, RuntimeError, OSError) as error:
        fix = install_command("math-verify[antlr4_13_2]", python=sys.executable)
        return Finding("math", False, str(error), fix, needed=True)
    if verdict.same:
        return Finding("math", True, "worker processes answer")
    return Finding("math", False, f"x+1 and 1+x: {verdict.reason or 'not the same'}", needed=True)


def _check_plugins() -> list[Finding]:
    from semantic_entropy.registry.discovery import default_registry

    failures = default_registry().failures()
    if not failures:
        return [Finding("plugins", True, f"{len(default_registry().entries())} components, none failed")]
    return [
        Finding(
            failure.plugin,
            False,
            f"plugin of {failure.source} failed: {failure.reason}",
            uninstall_command(failure.source, sys.executable),
        )
        for failure in failures
    ]


def check_pytest_plugin() -> Finding:
    """Find the pytest plugin. A clone that is newer than its installation has it in the code, and pytest not."""
    from importlib.metadata import distribution

    if any(entry.group == "pytest11" for entry in distribution(_DISTRIBUTION).entry_points):
        return Finding("pytest", True, "the fixture assert_consistent is registered")
    detail = "the fixture assert_consistent is not registered: an older version was installed. Install again"
    return Finding("pytest", False, detail, install_command(_DISTRIBUTION, python=sys.executable))


def _check_extra(extra: str) -> Finding:
    versions = _required_versions(extra)
    missing = [name for name, found in versions.items() if found is None]
    shown = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    if not missing:
        return Finding(extra, True, shown + _accelerator(versions))
    return Finding(
        extra,
        False,
        f"missing {', '.join(missing)}" + (" (which torch: docs/install.md)" if "torch" in missing else ""),
        install_command(f"{_DISTRIBUTION}[{extra}]", python=sys.executable),
    )


def _required_versions(extra: str) -> dict[str, str | None]:
    """Map each direct requirement of an extra to its installed version; None: the requirement is not installed."""
    from importlib.metadata import requires

    versions: dict[str, str | None] = {}
    for line in requires(_DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        if f"extra == '{extra}'" not in marker.replace('"', "'"):
            continue
        name = requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()
        if name != _DISTRIBUTION:
            versions[name] = _installed_version(name)
    return versions


def _installed_version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _accelerator(versions: dict[str, str | None]) -> str:
    """Return the name of torch's device. A separate process imports torch, because a broken torch may crash."""
    if "torch" not in versions:
        return ""
    import subprocess

    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    lines = (asked.stdout or asked.stderr).strip().splitlines()
    return f" ({lines[-1]})" if lines else ""
