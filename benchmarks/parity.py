"""The same groups in every engine: rewards, masks and advantages beside those of one process, as a markdown table.

    python3 noxfile.py parity --slime FOLDER            all engines; FOLDER is a checkout of slime
    python3 noxfile.py parity --without slime           without a checkout, for example
    python3 noxfile.py parity --without slime verl ray  without verl and Ray, whose installation takes minutes
    python benchmarks/parity.py --only trl service      in this environment

Ray, verl and slime run in verl's environment. slime is not in the package index, so without --slime its row says `not
run`.

The groups are those of `parity_engines/cases.py`: hard ones, and groups of ../shared/data/samples.jsonl if the file
exists. Each engine runs in a process of its own, `parity_engines/ENGINE.py`, and the table compares what the engine has
at the end of its own path. It exits with 1 if a reward or an advantage differs by more than 1e-6, if a mask differs, or
if an engine could not run and was not left out by name. An engine leaves out a case only if its own configuration
refuses the case, with the reason that `ENGINES` expects; the table shows it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parity_engines.cases import (
    AS_PROVIDER,
    TOLERANCE,
    Case,
    Comparison,
    EngineRewards,
    Ran,
    compare,
    make_cases,
    read_ran,
    write_cases,
)

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT.parent / "shared" / "data" / "samples.jsonl"
REFERENCE = "local"
SLIME = "slime"
SECONDS = 900  # for one engine; the slowest takes a minute
_ERROR = re.compile(r"[\w.]*(Error|Exception|Exit): ?")


@dataclass(frozen=True)
class Engine:
    """An engine, its runner (the arguments of Python that precede the two files), and which rewards it has."""

    name: str
    runner: tuple[str, ...]
    rewards: EngineRewards = AS_PROVIDER


# The cases that an engine may leave out, with words of its own reason. A case that it does not leave out is compared.
ONE_SIZE = {"sizes": "TRL's groups have one size"}
WITHOUT_MODEL = {"measures": "needs the measures ['self_certainty', 'token_entropy']"}
VERL = {"measures": "need the measures ['self_certainty', 'token_entropy'], which the trainer mode empo"}
ONE_GROUP = {"batch": "scale='batch': the worker decides about one group at a time"}
ASYNC = {**ONE_SIZE, **ONE_GROUP, "measures": "need the measures ['self_certainty', 'token_entropy'], and the worker"}
TRL = EngineRewards(of_no_reward=0.0, leaves_out=ONE_SIZE)  # no value may be missing, or nan, in a trainer's tensors

ENGINES = (
    Engine(REFERENCE, ("-m", "parity_engines.local")),
    Engine("ray", ("-m", "parity_engines.ray_actors")),
    Engine("trl", ("-m", "parity_engines.trl_trainer"), TRL),
    Engine(
        "trl-2",
        (
            *("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"),
            *("-m", "parity_engines.trl_trainer"),
        ),
        TRL,
    ),
    Engine("trl-async", ("-m", "parity_engines.trl_async"), EngineRewards(dropped_leave=True, leaves_out=ASYNC)),
    Engine("verl", ("-m", "parity_engines.verl_trainer"), EngineRewards(0.0, dropped_leave=True, leaves_out=VERL)),
    Engine(SLIME, ("-m", "parity_engines.slime_rollout"), EngineRewards(0.0, leaves_out=WITHOUT_MODEL)),
    Engine("service", ("-m", "parity_engines.service")),
)


def main(arguments: Sequence[str] | None = None, engines: Sequence[Engine] = ENGINES) -> int:
    """Run the engines, and print the table. Returns the exit status."""
    options = parse(arguments, [engine.name for engine in engines])
    cases = make_cases(options.samples)
    chosen = [engine for engine in engines if engine.name in {REFERENCE, *options.chosen}]
    pythons = dict(options.python)
    rows, equal, expected = [], True, None
    with tempfile.TemporaryDirectory() as folder:
        write_cases(Path(folder) / "cases.json", cases)
        for engine in chosen:
            began = time.monotonic()
            print(f"{engine.name} ...", end=" ", file=sys.stderr, flush=True)
            ran = run_engine(engine, pythons.get(engine.name, sys.executable), Path(folder), options.slime)
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if engine.name == REFERENCE:
                if isinstance(ran, str):
                    print(f"parity: the reference did not run: {ran}", file=sys.stderr)
                    return 1
                expected = ran
            assert expected is not None, "the reference is the first engine"
            found = None if isinstance(ran, str) else compare(cases, expected, ran, engine.rewards)
            equal = equal and found is not None and found.equal
            rows.append(table_row(engine.name, ran, found))
            for problem in (found.problems if found else [])[:10]:
                print(f"  {problem}", file=sys.stderr)
    print(table(cases, rows, options.samples))
    print(f"\n{f'All are equal, to {TOLERANCE:g}.' if equal else 'NOT equal, or not run.'}")
    return 0 if equal else 1


def parse(arguments: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = [name for name in names if name != REFERENCE]
    parser.add_argument("--without", nargs="+", default=[], choices=others, help="engines that do not run")
    parser.add_argument("--only", nargs="+", default=[], choices=others, help="the engines that run")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PATH", help="the Python of an engine")
    parser.add_argument("--slime", type=Path, metavar="FOLDER", help="a checkout of slime, whose code calls the hooks")
    parser.add_argument("--samples", type=Path, default=SAMPLES, metavar="FILE", help="groups of real samples")
    options = parser.parse_args(arguments)
    options.chosen = [name for name in options.only or others if name not in options.without]
    if not options.chosen:
        parser.error("--only and --without leave no engine to compare with the reference.")
    options.python = [_python_of(pair, names, parser) for pair in options.python]
    if options.slime and not (options.slime / "slime" / "__init__.py").is_file():
        parser.error(f"--slime {options.slime}: this folder has no slime/__init__.py. Name a checkout of slime.")
    if options.slime and SLIME not in options.chosen:
        parser.error("--slime names a checkout, but the engine slime does not run: remove --slime, or choose slime.")
    return options


def _python_of(pair: str, names: Sequence[str], parser: argparse.ArgumentParser) -> tuple[str, str]:
    """The engine and the path of an argument of --python."""
    name, equals, path = pair.partition("=")
    if not equals or name not in names:
        parser.error(f"--python {pair}: write ENGINE=PATH, where ENGINE is one of {', '.join(names)}.")
    if shutil.which(path) is None:
        parser.error(f"--python {pair}: {path!r} is not a program.")
    return name, path


def run_engine(engine: Engine, python: str, folder: Path, slime: Path | None) -> Ran | str:
    """Run an engine in a process. Returns its rows, or why it has none."""
    if engine.name == SLIME and slime is None:
        return "needs --slime FOLDER, a checkout of slime; `--without slime` leaves it out"
    target = folder / f"{engine.name}.json"
    paths = [ROOT / "benchmarks", ROOT, ROOT / "plugins", *([slime.resolve()] if slime else [])]
    added = {"PYTHONPATH": os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])}
    added |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}
    if slime:
        added["SLIME_VERSION"] = slime_version(slime)
    command = [python, "-W", "ignore", *engine.runner, str(folder / "cases.json"), str(target)]
    try:
        done = subprocess.run(
            command, env=os.environ | added, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"still running after {SECONDS} s"
    if done.returncode != 0 or not target.is_file():
        return reason(done.stderr) or f"exit status {done.returncode}"
    return read_ran(target)


def slime_version(folder: Path) -> str:
    """The commit of a checkout of slime, or `its source`."""
    command = ["git", "-C", str(folder), "log", "-1", "--format=%h"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 and (folder / ".git").exists() else "its source"


def reason(stderr: str) -> str:
    """The last line that names an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines or [""])[-1][:200]


def table_row(name: str, ran: Ran | str, found: Comparison | None) -> str:
    """The row of an engine."""
    if isinstance(ran, str) or found is None:
        return f"| {name} | 0 | 0 | | | | not run: {ran} |"
    if name == REFERENCE:
        return f"| {name} | {found.groups} | {found.completions} | reference | reference | reference | {ran.where} |"
    masks = "equal" if not found.masks_differ else f"{found.masks_differ} differ"
    left = "".join(f"; without the case {case}: {first_sentence(why)}" for case, why in ran.left_out.items())
    problems = f"; {len(found.problems)} problems: {found.problems[0]}" if found.problems else ""
    return (
        f"| {name} | {found.groups} | {found.completions} | {found.reward_difference:.1e} ({found.rewards}) | {masks} "
        f"| {found.advantage_difference:.1e} | {ran.where}{left}{problems} |"
    )


def first_sentence(reason: str) -> str:
    """The first sentence of a reason, without its full stop: the others say what to do."""
    return reason.partition(". ")[0].rstrip(".")


def table(cases: Sequence[Case], rows: Sequence[str], samples: Path) -> str:
    """The table, with what was compared."""
    groups = ", ".join(f"{case.name} {len(case.groups)}" for case in cases)
    real = "with groups of samples.jsonl" if samples.is_file() else "without real samples"
    head = "| engine | groups | completions | rewards differ by (compared) | masks | advantages differ by | ran |"
    return "\n".join([f"Groups of each case, {real}: {groups}.", "", head, f"|{'---|' * 7}", *rows])


if __name__ == "__main__":
    sys.exit(main())
