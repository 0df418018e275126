"""The cost of the core, and its agreement with other code: markdown tables on stdout.

    python benchmarks/core_numbers.py

1. import: the time of `import semantic_entropy` in a new process, minus the time of the bare interpreter, and the heavy
   modules that it loads.
2. conventions: the largest difference from the outputs of the code that a convention is named after (needs
   ../shared/golden).
3. real data: `semantic-entropy estimate` over ../shared/data/samples.jsonl, a whole process.

Exits with 1 if the import takes 0.25 s or more (the median of nine), if a heavy module is loaded, or if a convention
differs by more than 1e-9.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.semantic_entropy.test_golden import expected_of, measure
from tests.shared_data import SHARED, golden

IMPORT_SECONDS, EXACT, RUNS = 0.25, 1e-9, 9
HEAVY = ("torch", "sympy", "transformers", "math_verify", "trl", "numpy", "pydantic")


def main() -> int:
    """Print the tables; return 1 if a limit is exceeded."""
    reached = imports()
    if not (SHARED / "golden").exists():
        print("the folder ../shared/golden is missing (docs/explanation/data.md): the other tables are skipped")
        return 0 if reached else 1
    reached &= conventions()
    real_data()
    return 0 if reached else 1


def imports() -> bool:
    """Print the cost of the import; each run is paired with a run of the bare interpreter."""
    over = []
    for _ in range(RUNS):
        bare = seconds("pass")
        over.append(seconds("import semantic_entropy") - bare)
    script = f"import sys, semantic_entropy; print([m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    median = statistics.median(over)
    print("| import semantic_entropy | |\n|---|---|")
    print(f"| over the bare interpreter, median of {RUNS} | {median:.3f} s (from {min(over):.3f} to {max(over):.3f}) |")
    print(f"| heavy modules that it loads, of {', '.join(HEAVY)} | {loaded} |\n")
    return median < IMPORT_SECONDS and loaded == "[]"


def seconds(code: str) -> float:
    """Wall time of a new interpreter that runs this code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def conventions() -> bool:
    """Print the largest difference from the original code, one row for each quantity."""
    print("| convention | judge | quantity | cases | largest difference |\n|---|---|---|---|---|")
    worst = 0.0
    for convention, rule, quantity, differences in quantities():
        print(f"| {convention} | {rule} | {quantity} | {len(differences)} | {max(differences):.1e} |")
        worst = max(worst, *differences)
    print(f"\nwith the same NLI logits, lm-polygraph, uqlm and the Nature code agree in {agreeing()}\n")
    return worst <= EXACT


def agreeing() -> str:
    """How often the discrete entropies of the three original codes are equal."""
    polygraph = golden("expected_lm_polygraph.json")["results"]
    nature, uqlm = golden("expected_jlko_kuhn.json"), golden("expected_uqlm.json")["results"]
    cases = golden("cases.json")
    same = 0
    for case in cases:
        values = (
            expected_of(case, polygraph)["SemanticEntropy[frequency,mean]"],
            expected_of(case, nature)["cluster_assignment_entropy[strict]"],
            expected_of(case, uqlm)["discrete_semantic_entropy"],
        )
        same += max(values) - min(values) <= EXACT
    return f"{same} of {len(cases)} cases"


def quantities() -> Iterator[tuple[str, str, str, list[float]]]:
    """For each quantity: convention, rule of the judge, name, and the differences over all cases."""
    cases = golden("cases.json")
    polygraph = golden("expected_lm_polygraph.json")["results"]
    yield difference("lm-polygraph", "strict", "discrete", "SemanticEntropy[frequency,mean]", cases, polygraph)
    nature = golden("expected_jlko_kuhn.json")
    for rule in ("strict", "nonstrict"):
        for quantity, name in (("discrete", "cluster_assignment_entropy"), ("likelihood", "semantic_entropy_rao")):
            yield difference("nature-2024", rule, quantity, f"{name}[{rule}]", cases, nature)
    uqlm = golden("expected_uqlm.json")["results"]
    apart = [case for case in cases if not expected_of(case, uqlm)["overlapping"]]
    yield difference("uqlm", "either", "discrete", "discrete_semantic_entropy", apart, uqlm)
    rao = "tokenprob_semantic_entropy[length_normalize=True]"
    yield difference("uqlm", "either", "likelihood", rao, apart, uqlm)


def difference(
    convention: str, rule: str, quantity: str, name: str, cases: list[Any], results: list[Any]
) -> tuple[str, str, str, list[float]]:
    """|ours - theirs| for each case."""
    ours = [measure(case, convention, rule).scores[quantity] for case in cases]
    theirs = [expected_of(case, results)[name] for case in cases]
    return convention, rule, quantity, [abs(a - b) for a, b in zip(ours, theirs, strict=True)]


def real_data() -> None:
    """Print the time of the command line over all real samples."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.jsonl"
        command = [sys.executable, "-m", "semantic_entropy", "estimate", str(SHARED / "data" / "samples.jsonl")]
        start = time.perf_counter()
        said = subprocess.run([*command, "-o", str(output)], capture_output=True, text=True, check=True).stderr
        wall = time.perf_counter() - start
        rows = len(output.read_text(encoding="utf-8").splitlines())
    print("| semantic-entropy estimate samples.jsonl | |\n|---|---|")
    print(f"| rows written | {rows} |\n| whole process | {wall:.1f} s |\n| its last lines | {said.strip()} |")


if __name__ == "__main__":
    sys.exit(main())
