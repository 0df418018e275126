"""Every job of this repository, each with the set-up it needs.

Run as a script, on a machine with Python >= 3.11 and pip alone:

    python3 noxfile.py demo            EMPO on a tiny model, before and after, without a network
    python3 noxfile.py tests [...]     pytest, on up to four cores and with coverage; what follows goes to it instead
    python3 noxfile.py lint            ruff and the import direction
    python3 noxfile.py types           mypy --strict on the three packages
    python3 noxfile.py docs            the documentation, a warning being a failure; `docs serve` shows it
    python3 noxfile.py build           sdist and wheel, and a look at what the wheel brings
    python3 noxfile.py benchmarks      every benchmarks/*.py; `benchmarks NAME [...]` that one, with arguments

The same sessions run under an installed nox: `nox -s tests -- -k entropy`.

Two environments lie under .nox/ for each version of Python in use: `tools` (nox, ruff, import-linter,
build) and `project` (this project, editable, with its `dev` extra). Nox gives each session an environment
of its own; with torch in it, sharing one is worth the few lines of `environment` below. It installs under a
lock and leaves a stamp only when it has finished: two commands at once take turns, an interrupted
installation is done over, and an unchanged one costs a hash.

What it leaves out: choosing a build of torch. pip's own settings do that (docs/install.md).
"""

import sys

# Before all else: an old Python should meet this sentence, not a traceback. This file parses on Python 3.6.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"semantic-entropy needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.\n"
        "Run the same command with a newer one, for example: python3.12 noxfile.py tests"
    )

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / ".nox"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
PACKAGES = ("semantic_entropy", "empo_rl", "semantic_entropy_plugins")
TOOLS = ("nox", "ruff", "import-linter", "build")
OLDEST_NOX = (2025, 2)


class SetupError(Exception):
    """The machine lacks something that only its user can bring."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` against other processes. The system lets go of it when its holder dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if sys.platform == "win32":
            import msvcrt

            while True:  # LK_LOCK gives up after ten seconds; an installation takes longer
                try:
                    msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:
                    print(f"waiting for another command to finish installing ({path.stem})", flush=True)
        else:
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another command to finish installing ({path.stem})", flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def scripts(environment: Path) -> Path:
    """The folder of an environment's executables."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def executable(environment: Path, name: str) -> Path:
    """One of them."""
    return scripts(environment) / (f"{name}.exe" if os.name == "nt" else name)


def fingerprint(path: Path, requirements: tuple[str, ...]) -> str:
    """Where the environment lies (it cannot be moved), and a hash of all that decides what it holds.

    The tables of tools in pyproject.toml decide nothing, so that a new lint rule installs nothing.
    """
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    decisive = [
        requirements,
        pyproject["build-system"],
        pyproject["project"],
        pyproject["tool"]["hatch"],
        (ROOT / "constraints.txt").read_text(encoding="utf-8"),
    ]
    return f"{path}\n{hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()}\n"


def create_venv(path: Path) -> None:
    """An empty environment with pip at `path`, in place of whatever lay there."""
    shutil.rmtree(path, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupError(
            f"{sys.executable} could not make a virtual environment at {path}:\n\n"
            f"{(made.stderr + made.stdout).strip()}\n\n"
            "Its venv module (with ensurepip) is missing or broken. On Debian and Ubuntu it is a package of\n"
            f"its own: apt install python{PYTHON}-venv. Any other Python >= 3.11 with pip will do as well."
        )


def installed(path: Path) -> str | None:
    """The fingerprint left at `path` by an installation that finished there and still runs, else None."""
    stamp = path / "installed.txt"
    if not (stamp.exists() and executable(path, "python").exists()):
        return None
    found = stamp.read_text(encoding="utf-8")
    return found if found.startswith(f"{path}\n") else None


def environment(name: str, *requirements: str) -> Path:
    """The environment `name` with `requirements` under constraints.txt; at once where it already is so."""
    path = ENVIRONMENTS / f"{name}-{PYTHON}"
    wanted = fingerprint(path, requirements)
    with locked(ENVIRONMENTS / f"{path.name}.lock"):
        found = installed(path)
        if found == wanted:
            return path
        print(f"installing {' '.join(requirements)} into {path.relative_to(ROOT)}", flush=True)
        if found is None:  # nothing there, or an installation cut off halfway, which pip does not always mend
            create_venv(path)
        stamp = path / "installed.txt"
        stamp.unlink(missing_ok=True)
        install(path, *requirements)
        stamp.write_text(wanted, encoding="utf-8")
    return path


def install(path: Path, *requirements: str) -> None:
    """Install into `path` under constraints.txt. pip may talk: silenced, it keeps the reason of a conflict."""
    pip = [str(executable(path, "python")), "-m", "pip", "install", "--disable-pip-version-check"]
    bar = [] if sys.stdout.isatty() else ["--progress-bar", "off"]
    done = subprocess.run([*pip, *bar, "-c", "constraints.txt", *requirements], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SetupError(f"pip could not install {' '.join(requirements)}; its reason stands above.")


def tools() -> Path:
    """The small environment: what needs none of the project's dependencies."""
    return environment("tools", *TOOLS)


def project() -> Path:
    """The environment of everything that runs the project's code."""
    return environment("project", "-e", ".[dev]")


def python_with_nox() -> str:
    """This Python where it has a nox that is new enough, else that of the tools environment."""
    try:
        version = importlib.metadata.version("nox")
    except importlib.metadata.PackageNotFoundError:
        return str(executable(tools(), "python"))
    year, month = (int(part) for part in version.split(".")[:2])
    return sys.executable if (year, month) >= OLDEST_NOX else str(executable(tools(), "python"))


def main(arguments: list[str]) -> int:
    """Run one session, bringing nox first where it is missing."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(__doc__)
        return 0 if arguments else 2
    session, *rest = arguments
    rest = rest[1:] if rest[:1] == ["--"] else rest
    try:
        command = [python_with_nox(), "-m", "nox", "-f", str(ROOT / "noxfile.py"), "-s", session, "--", *rest]
        return subprocess.run(command, check=False).returncode
    except SetupError as error:
        print(f"noxfile.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# From here on it is nox that reads this file.
import nox  # noqa: E402

nox.needs_version = f">={OLDEST_NOX[0]}.{OLDEST_NOX[1]}"
nox.options.default_venv_backend = "none"  # sessions share the environments above
nox.options.sessions = ["tests", "lint", "types", "docs"]


def ready(session: nox.Session, prepare: Callable[[], Path]) -> Path:
    """An environment for `session`; a failure to make it is the session's failure."""
    try:
        return prepare()
    except SetupError as error:
        session.error(str(error))


def run(session: nox.Session, place: Path, command: str, *arguments: str, **variables: str) -> None:
    """Run `command` as installed in the environment `place`, with that environment active."""
    path = os.pathsep.join([str(scripts(place)), os.environ.get("PATH", os.defpath)])
    active = {"VIRTUAL_ENV": str(place), "PATH": path, **variables}
    session.run(str(executable(place, command)), *arguments, env=active, external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: train a tiny model on the entropy of its own answers, and show it before and after."""
    run(session, ready(session, project), "empo-train", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, a file at a time on each core, with coverage; with arguments, what they choose, on one and without."""
    cores = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]  # each worker loads torch: four take 3 GB
    chosen = session.posargs or [*cores, "--cov", "--cov-report=term:skip-covered"]
    # The measuring core of Python 3.12 and newer costs a fraction of the tracer that 3.11 has.
    core = {"COVERAGE_CORE": "sysmon"} if sys.version_info >= (3, 12) else {}
    run(session, ready(session, project), "pytest", *chosen, **core)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and format, and the import direction; `lint fix` mends what can be mended."""
    place = ready(session, tools)
    if session.posargs == ["fix"]:
        run(session, place, "ruff", "check", "--fix", ".")
        run(session, place, "ruff", "format", ".")
        return
    run(session, place, "ruff", "check", ".")
    run(session, place, "ruff", "format", "--check", ".")
    run(session, place, "lint-imports", PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugins")]))


@nox.session
def types(session: nox.Session) -> None:
    """The packages under mypy --strict."""
    run(session, ready(session, project), "mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation into site/, a warning being a failure; `docs serve` shows it while one writes."""
    # The theme's notice about its successor is no warning about these pages.
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    run(session, ready(session, project), "mkdocs", *(session.posargs or ["build", "--strict"]), **quiet)


@nox.session
def build(session: nox.Session) -> None:
    """An sdist and a wheel in dist/, and the wheel installed alone: complete, typed, and without torch."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(session, ready(session, tools), "python", "-m", "build", "--outdir", "dist", ".")
    alone = ENVIRONMENTS / f"wheel-{PYTHON}"
    try:
        create_venv(alone)
        install(alone, *(str(wheel) for wheel in (ROOT / "dist").glob("*.whl")))
    except SetupError as error:
        session.error(str(error))
    look = (
        "import importlib.resources as r, importlib.util as u, sys\n"
        "untyped = [p for p in sys.argv[1:] if not (r.files(p) / 'py.typed').is_file()]\n"
        "heavy = [m for m in ('torch', 'transformers', 'trl') if u.find_spec(m)]\n"
        "sys.exit(f'without py.typed: {untyped}; brought along: {heavy}' if untyped or heavy else 0)\n"
    )
    run(session, alone, "python", "-I", "-c", look, *PACKAGES)
    run(session, alone, "semantic-entropy", "plugins")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Every benchmarks/*.py in turn, or the one named with its own arguments: each prints its numbers."""
    known = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    name, *arguments = session.posargs or [None]
    if name is not None and name not in known:
        session.error(f"no benchmark {name!r}; there are: {', '.join(known) or 'none'}")
    place = ready(session, project)
    for path in known.values() if name is None else [known[name]]:
        run(session, place, "python", str(path), *arguments)
