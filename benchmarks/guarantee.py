"""Does the guarantee hold? Learn-then-test on the labelled sources of ../shared/data, with the truth known.

    python benchmarks/guarantee.py                      # 500 draws; measures the rows first
    python benchmarks/guarantee.py --scored FILE        # keeps the measured rows in FILE, and uses them again

A calibration set of n groups is drawn from a source with replacement. A fifth of it chooses the thresholds (and fits
the combination of three scores); the rest certifies, as `semantic-entropy calibrate` does. The risk of the certified
threshold is then taken over the whole source: this is the distribution that the set was drawn from, so the risk has no
error of its own. A violation is a draw with a certified threshold whose risk is above alpha. The promise: at most
delta = 10% of the draws.

Then: how large the fit part should be. The last table shows a shift: calibrated on one source, used on another. Nothing
is promised there.

An answer is wrong by the label of the main answer, else by the majority of the largest cluster. The judge is `auto`
(`math`, else `text`). Sources with fewer than 100 groups are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semantic_entropy import estimate_file
from semantic_entropy.decisions import learn_then_test
from semantic_entropy.decisions.guarantee import FIT_SHARE, sequence_of
from semantic_entropy.evaluation.calibration_fit import fit_probability
from semantic_entropy.evaluation.labelled_scores import LabelledScores
from tests.shared_data import SHARED, rows

SCORES = ("discrete", "majority", "eigv")  # the first one alone, and all of them combined
CONFIDENCES = ("majority",)
DELTA = 0.1
ALPHAS, SIZES = (0.05, 0.1, 0.2), (200, 400, 800)
SHARES = (0.1, FIT_SHARE, 0.35, 0.5)
FEWEST_GROUPS = 100
SHIFT = ("uqnlg_triviaqa", "sac3_nq", 0.2)  # calibrated on, used on, alpha


RiskScore = Callable[[Any, Any, Any], Any]
"""(values (N, scores), those of the fit part, its labels) -> the risk score of each group (N,)."""


class Source(NamedTuple):
    """The groups of a source: values (N, scores), higher for more uncertain answers; whether they are wrong (N,)."""

    values: Any
    wrong: Any


class Outcome(NamedTuple):
    """What one draw gives: the risk and the coverage over the whole source; nan and 0 if nothing is certified."""

    risk: float
    coverage: float


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scored", type=Path, help="where the measured rows are kept")
    parser.add_argument("--draws", type=int, default=500, help="calibration sets of each cell (default: 500)")
    arguments = parser.parse_args()
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    sources = read_sources(arguments.scored)
    limit = DELTA + 2 * math.sqrt(DELTA * (1 - DELTA) / arguments.draws)
    worst = max(print_table(title, risk_of, sources, arguments.draws) for title, risk_of in METHODS.items())
    print(f"\nmost violations of a cell: {worst:.1%}; the promise plus two standard errors: {limit:.1%}")
    print_shares(sources["evouna_nq"], arguments.draws)
    print_shift(sources, arguments.draws)
    return int(worst > limit)


def read_sources(scored: Path | None) -> dict[str, Source]:
    """Measure the rows, unless they are kept, and return the sources with enough groups."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "rows.jsonl")
        answers = [
            {**row, "responses": [a or "" for a in row.get("preds", row["responses"])]} for row in rows("samples.jsonl")
        ]
        table.write_text("".join(json.dumps(row) + "\n" for row in answers))
        output = scored or Path(folder, "scored.jsonl")
        estimate_file(table, output, estimator=list(SCORES), progress=False)
        measured = [json.loads(line) for line in output.read_text().splitlines()]
    columns = LabelledScores(SCORES, "main", "correct", "source")
    columns.add_all((f"row {i}", row, "") for i, row in enumerate(measured))
    assert not columns.bad, columns.bad_rows
    signs = [-1.0 if name in CONFIDENCES else 1.0 for name in SCORES]
    values = np.array([columns.scores[name] for name in SCORES]).T * signs
    valid = np.array([group.n_valid or 0 for group in columns.measured])
    values[valid < 2] = math.nan  # never answered
    values, wrong, names = values.round(9), np.array(columns.wrong), np.array(columns.sources)
    found = {name: Source(values[names == name], wrong[names == name]) for name in dict.fromkeys(columns.sources)}
    return {name: source for name, source in found.items() if len(source.wrong) >= FEWEST_GROUPS}


def single(values: Any, _fit: Any, _fit_wrong: Any) -> Any:
    """The risk scores (N,) of the first score alone: its value."""
    return values[:, 0]


def combined(values: Any, fit: Any, fit_wrong: Any) -> Any:
    """The risk scores (N,) of all scores: p(wrong) by logistic regression, fitted on the fit part."""
    known = ~np.isnan(fit).any(axis=1)
    parameters = fit_probability(fit[known], fit_wrong[known], "platt")
    standardised = (values - np.array(parameters.mean)) / np.array(parameters.scale)
    return (parameters.intercept + standardised @ np.array(parameters.weights)).round(9)  # its order is that of p


METHODS: dict[str, RiskScore] = {
    "discrete": single,
    f"{', '.join(SCORES)} combined": combined,
}


def outcomes(
    source: Source,
    risk_of: RiskScore,
    n: int,
    alphas: Sequence[float],
    draws: int,
    used: Source | None = None,
    fit_share: float = FIT_SHARE,
) -> dict[float, list[Outcome]]:
    """Draw calibration sets from a source, and return by alpha what their thresholds do on it (or on another one)."""
    draw = np.random.default_rng(0)
    size, n_fit = len(source.wrong), round(fit_share * n)
    used = used or source
    everything = source.values if used is source else np.concatenate([source.values, used.values])
    found: dict[float, list[Outcome]] = {alpha: [] for alpha in alphas}
    for _ in range(draws):
        chosen = draw.integers(0, size, n)
        fit, certify = chosen[:n_fit], chosen[n_fit:]
        risks = risk_of(everything, source.values[fit], source.wrong[fit])
        of_used = risks if used is source else risks[size:]
        fitted, scores, labels = risks[fit].tolist(), risks[certify].tolist(), source.wrong[certify].tolist()
        for alpha in alphas:
            thresholds = sequence_of(fitted, len(scores), alpha, DELTA)
            threshold = learn_then_test(scores, labels, thresholds, alpha, DELTA, explain=False).threshold
            if threshold is None:
                found[alpha].append(Outcome(math.nan, 0.0))
            else:
                answered = of_used <= threshold
                found[alpha].append(Outcome(float(used.wrong[answered].mean()), float(answered.mean())))
    return found


def print_table(title: str, risk_of: RiskScore, sources: dict[str, Source], draws: int) -> float:
    """Print a table with a line for each source and alpha. Return the largest share of violations."""
    print(f"\n**{title}**: violations / certifying draws / mean coverage of these\n")
    print("| source (groups, wrong; unanimous groups wrong) | alpha |" + "".join(f" n = {n} |" for n in SIZES))
    print("|---|---|" + "---|" * len(SIZES))
    worst = 0.0
    for name, source in sources.items():
        unanimous = source.values[:, 0] == 0
        share = f"{source.wrong[unanimous].mean():.1%}" if unanimous.any() else "none"
        label = f"{name} ({len(source.wrong):,}, {source.wrong.mean():.1%}; {share})"
        found = {n: outcomes(source, risk_of, n, ALPHAS, draws) for n in SIZES}
        for alpha in ALPHAS:
            cells = []
            for n in SIZES:
                certified = [each for each in found[n][alpha] if not math.isnan(each.risk)]
                violations = sum(each.risk > alpha for each in certified) / draws
                worst = max(worst, violations)
                coverage = f"{np.mean([each.coverage for each in certified]):.0%}" if certified else "-"
                cells.append(f"{violations:.1%} / {len(certified) / draws:.0%} / {coverage}")
            print(f"| {label} | {alpha} | {' | '.join(cells)} |", flush=True)
            label = ""
    return worst


def print_shares(source: Source, draws: int) -> None:
    """Print how the share of the fit part changes the share of draws that certify."""
    print("\nevouna_nq, alpha 0.1, discrete: certifying draws by the share of the fit part\n")
    print("| fit part |" + "".join(f" n = {n} |" for n in SIZES) + "\n|---|" + "---|" * len(SIZES))
    for share in SHARES:
        cells = []
        for n in SIZES:
            found = outcomes(source, single, n, [0.1], draws, fit_share=share)[0.1]
            cells.append(f"{sum(not math.isnan(each.risk) for each in found) / draws:.0%}")
        print(f"| {share} | {' | '.join(cells)} |")


def print_shift(sources: dict[str, Source], draws: int) -> None:
    """Print what a guarantee is worth on other questions."""
    one, other, alpha = SHIFT
    print(f"\ncalibrated on {one} at alpha {alpha}, used on {other}:\n")
    print("| n | certifying draws | mean risk there | highest | of these draws with a risk above alpha |")
    print("|---|---|---|---|---|")
    for n in SIZES:
        found = outcomes(sources[one], single, n, [alpha], draws, sources[other])[alpha]
        risks = [each.risk for each in found if not math.isnan(each.risk)]
        above = sum(risk > alpha for risk in risks) / len(risks)
        shown = f"{len(risks) / draws:.0%} | {np.mean(risks):.2f} | {max(risks):.2f} | {above:.0%}"
        print(f"| {n} | {shown} |")


if __name__ == "__main__":
    raise SystemExit(main())
