"""All jobs of this repository. Each job installs what it needs.

Run it as a script; it needs only Python >= 3.11 and pip:

    python3 noxfile.py demo            train a tiny model with EMPO, without a network; measure it before and after
    python3 noxfile.py tests [...]     pytest on up to four cores; arguments replace these options
    python3 noxfile.py coverage        the same, with coverage, which takes about twice the time
    python3 noxfile.py lint            ruff and the import direction
    python3 noxfile.py types           mypy --strict on the three packages
    python3 noxfile.py docs            build the documentation; a warning is a failure; `docs serve` shows it
    python3 noxfile.py deepspeed       the tests of launch.strategy=zero3 with DeepSpeed; a skipped test fails
    python3 noxfile.py verl            the tests of the verl adapter with the real verl, on the CPU
    python3 noxfile.py ray             the tests of the engine ray with Ray Data; a skipped test fails
    python3 noxfile.py evaluators      the tests with inspect_ai, lm-eval, MLflow and Langfuse; a skipped test fails
    python3 noxfile.py build           sdist and wheel, and a check of the installed wheel
    python3 noxfile.py parity          the same groups in TRL, verl, slime, Ray, the service; a difference fails. It
                                       needs `--slime FOLDER`, a checkout of slime, or `--without slime`
    python3 noxfile.py benchmarks      list the benchmarks; `benchmarks NAME [...]` runs one, with arguments
    python3 noxfile.py estimators_speed  the time of each estimator beside lm-polygraph's, which it installs

An installed nox runs the same sessions: `nox -s tests -- -k entropy`.

Each version of Python has two environments under .nox/: `tools` (nox, ruff, import-linter, build) and `project` (this
project, editable, with its extra `dev`). By default nox creates one environment for each session. An environment with
torch is large, so sessions share one; `environment` below does this. It installs under a lock, and writes a stamp when
it has finished. So two commands at the same time take turns, an interrupted installation is repeated, and an unchanged
one only costs a hash.

Not supported: choosing a build of torch. Use pip's own settings (docs/install.md).
"""

import sys

# This check comes first, so that an old Python prints this message and no traceback. The file parses on Python 3.6.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"semantic-entropy needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.\n"
        "Run the same command with a newer one, for example: python3.12 noxfile.py tests"
    )

import hashlib
import importlib.metadata
import itertools
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
    """The machine lacks something that only its user can install."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock `path` against other processes. The system releases the lock when its process ends, even after a kill."""
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
    """The folder with the executables of an environment."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def site_packages(environment: Path) -> Path:
    """The folder with the packages of an environment."""
    return environment / ("Lib" if os.name == "nt" else f"lib/python{PYTHON}") / "site-packages"


def executable(environment: Path, name: str) -> Path:
    """The path of an executable in an environment."""
    return scripts(environment) / (f"{name}.exe" if os.name == "nt" else name)


def fingerprint(path: Path, requirements: tuple[str, ...], constraints: str = "constraints.txt") -> str:
    """The path of the environment (it cannot be moved), and a hash of everything that decides its content.

    The tables of tools in pyproject.toml are not part of the hash, so a new lint rule installs nothing.
    """
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    decisive = [
        requirements,
        pyproject["build-system"],
        pyproject["project"],
        pyproject["tool"]["hatch"],
        (ROOT / constraints).read_text(encoding="utf-8"),
    ]
    return f"{path}\n{hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()}\n"


def create_venv(path: Path) -> None:
    """Create an empty environment with pip at `path`; delete the folder first if it exists."""
    shutil.rmtree(path, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupError(
            f"{sys.executable} could not create a virtual environment at {path}:\n\n"
            f"{(made.stderr + made.stdout).strip()}\n\n"
            "Its venv module (with ensurepip) is missing or broken. On Debian and Ubuntu it is a separate package:\n"
            f"apt install python{PYTHON}-venv. Or use another Python >= 3.11 with pip."
        )


def installed(path: Path) -> str | None:
    """The fingerprint of a finished and working installation at `path`, or None."""
    stamp = path / "installed.txt"
    if not (stamp.exists() and executable(path, "python").exists()):
        return None
    found = stamp.read_text(encoding="utf-8")
    return found if found.startswith(f"{path}\n") else None


def environment(name: str, *requirements: str, constraints: str = "constraints.txt") -> Path:
    """The environment `name` with `requirements` under `constraints`; installs only if something changed."""
    path = ENVIRONMENTS / f"{name}-{PYTHON}"
    wanted = fingerprint(path, requirements, constraints)
    with locked(ENVIRONMENTS / f"{path.name}.lock"):
        found = installed(path)
        if found == wanted:
            return path
        print(f"installing {' '.join(requirements)} into {path.relative_to(ROOT)}", flush=True)
        if found is None:  # nothing there, or an interrupted installation, which pip cannot always repair
            create_venv(path)
        stamp = path / "installed.txt"
        stamp.unlink(missing_ok=True)
        install(path, *requirements, constraints=constraints)
        stamp.write_text(wanted, encoding="utf-8")
    return path


def install(path: Path, *requirements: str, constraints: str = "constraints.txt") -> None:
    """Install into `path` under `constraints`. Without --quiet, because it hides the reason of a conflict."""
    pip = [str(executable(path, "python")), "-m", "pip", "install", "--disable-pip-version-check"]
    bar = [] if sys.stdout.isatty() else ["--progress-bar", "off"]
    done = subprocess.run([*pip, *bar, "-c", constraints, *requirements], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SetupError(f"pip could not install {' '.join(requirements)}; pip printed the reason above.")


def tools() -> Path:
    """The small environment, for jobs that need none of the project's dependencies."""
    return environment("tools", *TOOLS)


def project() -> Path:
    """The environment for jobs that run the project's code."""
    return environment("project", "-e", ".[dev]")


def deepspeed_project() -> Path:
    """The environment of the project with DeepSpeed, which compiles nothing at its installation."""
    os.environ["DS_BUILD_OPS"] = "0"
    return environment("deepspeed", "-e", ".[dev]", "deepspeed")


def ray_project() -> Path:
    """The environment of the project with Ray Data, whose installation takes 270 MB."""
    return environment("ray", "-e", ".[dev,ray]")


def evaluators_project() -> Path:
    """The environment of the project with the evaluation tools, without torch. They exclude versions of the others."""
    extras = "-e", ".[inspect,lm-eval,mlflow,langfuse]"
    tested = "hypothesis", "pytest", "pytest-timeout"
    return environment("evaluators", *extras, *tested, constraints="constraints-evaluators.txt")


def python_with_nox() -> str:
    """This Python if it has a recent nox, else the Python of the tools environment."""
    try:
        version = importlib.metadata.version("nox")
    except importlib.metadata.PackageNotFoundError:
        return str(executable(tools(), "python"))
    year, month = (int(part) for part in version.split(".")[:2])
    return sys.executable if (year, month) >= OLDEST_NOX else str(executable(tools(), "python"))


def main(arguments: list[str]) -> int:
    """Run one session; install nox first if it is missing."""
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

# Only nox reads the file from here on.
import nox  # noqa: E402

nox.needs_version = f">={OLDEST_NOX[0]}.{OLDEST_NOX[1]}"
nox.options.default_venv_backend = "none"  # sessions share the environments above
nox.options.sessions = ["tests", "lint", "types", "docs"]

IN_PARALLEL = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]  # each worker loads torch: four take 3 GB


def ready(session: nox.Session, prepare: Callable[[], Path]) -> Path:
    """An environment for `session`; the session fails if it cannot be installed."""
    try:
        return prepare()
    except SetupError as error:
        session.error(str(error))


def run(session: nox.Session, place: Path, command: str, *arguments: str, **variables: str) -> None:
    """Run `command` of the environment `place`, with this environment active."""
    path = os.pathsep.join([str(scripts(place)), os.environ.get("PATH", os.defpath)])
    active = {"VIRTUAL_ENV": str(place), "PATH": path, **variables}
    session.run(str(executable(place, command)), *arguments, env=active, external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a tiny model on the entropy of its own answers, and measure it before and after."""
    run(session, ready(session, project), "empo-train", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests in parallel. With arguments: the chosen tests, on one core."""
    run(session, ready(session, project), "pytest", *(session.posargs or IN_PARALLEL))


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests in parallel, with the coverage of the three packages. It takes about twice the time of `tests`."""
    # On Python 3.12 and newer coverage uses sys.monitoring, which is much faster than the tracer of 3.11.
    core = {"COVERAGE_CORE": "sysmon"} if sys.version_info >= (3, 12) else {}
    run(session, ready(session, project), "pytest", *IN_PARALLEL, "--cov", "--cov-report=term:skip-covered", **core)


@nox.session
def deepspeed(session: nox.Session) -> None:
    """The tests that need DeepSpeed. A test that is skipped here fails. `tests` skips them without DeepSpeed."""
    chosen = session.posargs or ["tests/empo_rl", "-k", "zero3"]
    run(session, ready(session, deepspeed_project), "pytest", *chosen, FORBID_SKIPS="1", DS_ACCELERATOR="cpu")


@nox.session
def ray(session: nox.Session) -> None:
    """The tests that need Ray Data. A test that is skipped here fails. `tests` skips them without Ray."""
    chosen = session.posargs or ["tests/semantic_entropy/bulk", "-k", "ray"]
    run(session, ready(session, ray_project), "pytest", *chosen, FORBID_SKIPS="1")


@nox.session
def evaluators(session: nox.Session) -> None:
    """The tests with real evaluation tools. A test that is skipped here fails. `tests` skips them without the tools."""
    chosen = session.posargs or ["tests/semantic_entropy/integrations/evaluators"]
    # The warnings of these tools are not about this project.
    run(session, ready(session, evaluators_project), "pytest", "-W", "ignore", *chosen, FORBID_SKIPS="1")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and format, and the import direction; `lint fix` repairs what ruff can repair."""
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
    """Check the types of the packages with mypy --strict."""
    run(session, ready(session, project), "mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a warning is a failure. `docs serve` shows it while you write."""
    # Hides the theme's notice about its successor: it is not about these pages.
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    run(session, ready(session, project), "mkdocs", *(session.posargs or ["build", "--strict"]), **quiet)


@nox.session
def build(session: nox.Session) -> None:
    """Build an sdist and a wheel in dist/; check that the installed wheel is complete, typed, and without torch."""
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
        "sys.exit(f'without py.typed: {untyped}; installs also: {heavy}' if untyped or heavy else 0)\n"
    )
    run(session, alone, "python", "-I", "-c", look, *PACKAGES)
    run(session, alone, "semantic-entropy", "plugins")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run the named one of benchmarks/*.py with its arguments; without a name, list them. Some run for hours."""
    known = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    name, *arguments = session.posargs or [None]
    if name is None:
        for each, path in known.items():
            print(f"{each:24} {path.read_text(encoding='utf-8').lstrip('r').lstrip(chr(34)).splitlines()[0]}")
    elif name not in known:
        session.error(f"no benchmark {name!r}. Available: {', '.join(known) or 'none'}")
    else:
        run(session, ready(session, project), "python", str(known[name]), *arguments)


# An editable install of another environment is not read, so the path names the sources.
SOURCES = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])


def overlay(session: nox.Session, name: str, *installs: list[str]) -> Path:
    """An environment that reads the packages of the project's, and has others above them; one pip call for each list.

    So a library that pins other versions of a few packages needs no second torch.
    """
    shared = ready(session, project)
    place = ENVIRONMENTS / f"{name}-{PYTHON}"
    stamp, wanted = place / "installed.txt", json.dumps(installs)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        try:
            create_venv(place)
        except SetupError as error:
            session.error(str(error))
        (site_packages(place) / "project.pth").write_text(f"{site_packages(shared)}\n", encoding="utf-8")
        for arguments in installs:
            run(session, place, "python", "-m", "pip", "install", *arguments)
        stamp.write_text(wanted, encoding="utf-8")
    return place


# verl 0.9.1 needs transformers below 5.11; the last four are in its extra verl-core, whose other packages are for
# images and video. torch and numpy are pinned to the project's, which verl also accepts.
VERL = [
    *("verl==0.9.1", "TransferQueue==0.1.11", "transformers==5.9.0", "torch==2.13.0", "numpy==2.4.6"),
    *("cachetools", "fastapi", "pyzmq", "uvicorn"),
]


@nox.session
def verl(session: nox.Session) -> None:
    """The tests of the verl adapter against the real verl, with its queue on Ray. They need no GPU."""
    place = overlay(session, "verl", VERL)
    chosen = session.posargs or ["tests/empo_rl/trainers/verl"]
    run(session, place, "python", "-m", "pytest", *chosen, PYTHONPATH=SOURCES, FORBID_SKIPS="1")


def named_after(option: str, arguments: list[str]) -> set[str]:
    """The words after an option, up to the next option."""
    start = arguments.index(option) + 1 if option in arguments else len(arguments)
    return set(itertools.takewhile(lambda word: not word.startswith("-"), arguments[start:]))


@nox.session
def parity(session: nox.Session) -> None:
    """Rewards, masks and advantages of the same groups in every engine. The arguments are those of the benchmark.

    slime needs `--slime FOLDER`, a checkout. Without one, leave it out with `--without slime`, or the session fails.
    """
    arguments = list(session.posargs)
    place = ready(session, project)
    checkout = any(word.partition("=")[0] == "--slime" for word in arguments)
    apart = {"ray", "verl", *(["slime"] if checkout else [])}  # slime's own code imports Ray
    apart -= named_after("--without", arguments)
    only = named_after("--only", arguments)
    apart = apart & only if only else apart
    apart = set() if {"-h", "--help"}.intersection(arguments) else apart
    if apart:
        python = executable(overlay(session, "verl", VERL), "python")
        arguments += [word for name in sorted(apart) for word in ("--python", f"{name}={python}")]
    run(session, place, "python", "benchmarks/parity.py", *arguments, PYTHONPATH=SOURCES)


# What `import lm_polygraph` needs besides the packages of the project. Its other dependencies (bitsandbytes, fastchat,
# flask, ...) are for its commands and its server.
LM_POLYGRAPH = ("bert-score", "boostedprob", "diskcache", "omegaconf", "openai", "sacrebleu", "spacy")


@nox.session
def estimators_speed(session: nox.Session) -> None:
    """The time of each estimator beside lm-polygraph's, in an environment that reads the packages of the project's."""
    place = overlay(session, "lm-polygraph", ["--no-deps", "lm-polygraph==0.7.0"], [*LM_POLYGRAPH])
    run(session, place, "python", "benchmarks/estimators_speed.py", *session.posargs, PYTHONPATH=SOURCES)
