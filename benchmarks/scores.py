"""Which score finds wrong answers: AUROC of every registered estimator, on ../shared/data.

    python benchmarks/scores.py                 # the first 400 groups of each source, as lm-polygraph was measured
    python benchmarks/scores.py --groups 5000   # all groups
    python benchmarks/scores.py --responses 3   # the first three responses of each group; labels as with all

First tables: the sources of `samples.jsonl`, which have texts only. Next: `whitebox_qwen05.jsonl`, a greedy answer and
ten samples of a small model with log-probabilities, the 15 most probable tokens and a hidden state; the greedy answer
is judged. Last: all metrics on its arithmetic. The model knows few of the other answers (10 of 292, and 5 of 150).

An answer is wrong by the label of the main answer, else if fewer than half of the responses are right. Clusters are not
used for the label. If a row has `preds` (extracted final answers), these are compared. The estimators are those that
the registry lists; one that needs options, or evidence that the data does not have, is named with the reason. Those
that are fitted on labels are in the last table, cross-validated: no row is scored by weights that have seen its label.

The intervals are 95% bootstrap intervals; `mean - discrete` is a paired comparison. The line of lm-polygraph 0.7.0 is
the best of its four estimators that need no model (ROUGE-L; EigV, Deg and Ecc on Jaccard), chosen for each source after
the fact. In sac3_prime and sac3_senator the model is confidently wrong, which no consistency method can detect; they
are not in the first mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from semantic_entropy import EvidenceError, MissingDependencyError, OptionError, Scorer, load_estimator
from semantic_entropy.decisions import group_label
from semantic_entropy.evaluation import Evaluation, evaluate

# Internal: the registry and FITTED list the names, and rows are read as a file is read.
from semantic_entropy.evaluation.fitting import FITTED
from semantic_entropy.io import check_row
from semantic_entropy.registry import default_registry
from semantic_entropy.tables import FieldNames
from tests.shared_data import SHARED, rows

CONFIDENTLY_WRONG = ("sac3_prime", "sac3_senator")
LM_POLYGRAPH = {
    "uqnlg_triviaqa": 0.914,
    "sac3_nq": 0.820,
    "sac3_hotpot": 0.816,
    "qwen_math_cot_100": 0.815,
    "gsm8k_openai_tora": 0.943,
    "evouna_nq": 0.748,
    "evouna_tq": 0.717,
}
LEFT_OUT: dict[str, list[str]] = {}  # the reason why estimators were left out -> their names

Row = dict[str, Any]


def main() -> int:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--groups", type=int, default=400, help="most groups of a source (default: 400)")
    arguments.add_argument("--responses", type=int, help="only this many responses of a group (default: all)")
    given = arguments.parse_args()
    most, responses = given.groups, given.responses
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    texts = first(most, rows("samples.jsonl"))
    scored = measured([text_row(row, responses) for row in texts])
    print_sources(evaluate([row for row in scored if row["source"] not in CONFIDENTLY_WRONG]), LM_POLYGRAPH)
    print_sources(evaluate([row for row in scored if row["source"] in CONFIDENTLY_WRONG]), {})
    print_left_out()
    white_box = measured([white_box_row(row, responses) for row in rows("whitebox_qwen05.jsonl")])
    print_sources(evaluate(white_box), {})
    print_left_out()
    with tempfile.TemporaryDirectory() as folder:
        fits = {name: f"{folder}/{name}.json" for name in FITTED}
        found = evaluate([row for row in white_box if row["source"] == "arithmetic"], fit=fits)
    print("\n" + "\n".join(line for line in found.to_markdown().splitlines() if not line.startswith("note: ")))
    return 0


def first(most: int, table: Sequence[Row]) -> list[Row]:
    """The first rows of each source."""
    of: dict[str, list[Row]] = {}
    for row in table:
        of.setdefault(row["source"], []).append(row)
    return [row for some in of.values() for row in some[:most]]


def text_row(row: Row, most: int | None) -> Row:
    """What is measured of a row with texts, and its label, which all responses decide."""
    label = group_label(row)
    assert label is not None
    responses = [answer or "" for answer in row.get("preds", row["responses"])]
    return {
        "source": row["source"],
        "question": row["question"],
        "responses": responses[:most],
        "answer_correct": not label.wrong,
    }


def white_box_row(row: Row, most: int | None) -> Row:
    """What is measured of a row with token data; the greedy answer has the label."""
    samples = row["samples"][:most]
    return {
        "source": row["source"],
        "question": row["question"],
        "responses": [sample["text"] for sample in samples],
        "logprobs": [sample["logprobs"] for sample in samples],
        "token_entropies": [sample["token_entropies"] for sample in samples],
        "greedy": {**row["greedy"], "hidden_state": row["hidden"]},
    }


def measured(table: Sequence[Row]) -> list[Row]:
    """The rows with the scores of every estimator that has its evidence. LEFT_OUT has the reasons for the others."""
    LEFT_OUT.clear()
    names = [name for name in registered() if can_measure(name, table[0])]
    with Scorer(estimator=names) as scorer:
        fields = FieldNames(evidence=scorer.needs - {"logprobs", "responses", "texts", "question"})
        groups = [group for row in table if (group := check_row(row, fields)[0])]
        assert len(groups) == len(table)
        results = scorer.measure(groups)
    return [{**row, "scores": dict(result.scores)} for row, result in zip(table, results, strict=True)]


def registered() -> list[str]:
    """The names of all estimators, `discrete` first: the others are compared with it."""
    registry = default_registry()
    names = [registry.name_of(entry) for entry in registry.entries("estimator")]
    return sorted(names, key=lambda name: name != "discrete")


def can_measure(name: str, row: Row) -> bool:
    """Whether an estimator can be built without options, and has its evidence in this row."""
    try:
        evaluate([row], estimator=load_estimator(name), resamples=0)
    except (EvidenceError, OptionError) as error:
        LEFT_OUT.setdefault(str(error).replace(repr(name), "...").replace("row 0: ", ""), []).append(name)
        return False
    except MissingDependencyError as error:
        LEFT_OUT.setdefault(str(error).partition(":")[0], []).append(name)  # without the command of this machine
        return False
    return True


def print_sources(found: Evaluation, peer: Mapping[str, float]) -> None:
    """Print the AUROC of each score on each source, their mean, and the numbers of lm-polygraph."""
    mean = found.mean
    assert mean is not None
    print(f"\n| AUROC | {' | '.join(found.sources)} | mean, 95% | mean - discrete, 95% |")
    print("|---" * (len(found.sources) + 3) + "|")
    counts = [f"{table.wrong} of {table.groups} wrong" for table in found.sources.values()]
    print(f"| | {' | '.join(counts)} | | |")
    for name in found.overall:
        values = [f"{table[name].auroc.value:.3f}" for table in found.sources.values()]
        difference = mean[name].difference
        shown = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})" if difference else ""
        print(f"| {name} | {' | '.join(values)} | {mean[name].auroc} | {shown} |")
    if peer:
        values = [f"{peer[source]:.3f}" for source in found.sources]
        print(f"| *lm-polygraph 0.7.0, best of four* | {' | '.join(values)} | {sum(peer.values()) / len(peer):.3f} | |")


def print_left_out() -> None:
    """Print which estimators were left out, and why."""
    for reason, names in LEFT_OUT.items():
        print(f"\nleft out: {', '.join(names)}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
