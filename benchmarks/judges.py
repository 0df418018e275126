"""Who judges well: every judge that can run here, on ../shared/data.

    python benchmarks/judges.py [--quick]

First accuracy, precision and recall on labelled pairs; then how well the entropy of each judge's clusters tells wrong
answers from right ones (AUROC, as in benchmarks/hallucination.py). The embedding judge has the real all-MiniLM-L6-v2;
the NLI judge a small model of its own making (benchmarks/sick_nli.py), which is made first where it is not there.

What is tuned ("tuned") is chosen on the pairs of one half of the EVOUNA questions; no number below is measured on a
question of that half. Three defaults are older, and were picked on labelled pairs of both halves: the embedding's
threshold, the 60% of `text`, and the band that `text` has in a cascade. Of a source as many pairs and groups are drawn,
with a fixed seed, as the tables say: these judges are slow on a CPU. `--quick`: a tenth of all.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from hallucination import CONFIDENTLY_WRONG, MATHEMATICS, SOURCES, interval, is_wrong, normalised
from sick_nli import MINILM, cached
from sklearn.metrics import roc_auc_score

from semantic_entropy import Equivalence, Pair, Scorer, Verdict, load_equivalence
from semantic_entropy.decisions import Quality, best_threshold, quality
from tests.shared_data import SHARED, rows

TUNING, PAIRS, GROUPS, NLI_GROUPS = 1500, 150, 300, 40  # in all; then of a source, at most; fewer for NLI alone
NLI_SOURCES = ("uqnlg_triviaqa", "sac3_nq", "sac3_hotpot")  # one model's samples: what entropy is for
HINDSIGHT = (0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # thresholds of the embedding
TEXT = {"judge": "text", "band": [0.01, 0.6]}
TRUSTED = 0.9  # how precise an embedding's verdicts must be to count before a dearer judge is asked
MATHEMATICAL = "mathematics"  # the sources of pairs that are about it, together
Row = dict[str, Any]


def main() -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the pairs and groups: whether it runs")
    share = 0.1 if parser.parse_args().quick else 1.0
    if not (SHARED / "data").exists():
        print("the data is not beside this checkout (docs/explanation/data.md): nothing to measure")
        return 0
    tuning, measured = split(rows("pairs.jsonl"), share)
    judges = Judges(tuning)
    print_chosen(judges, tuning)
    print_pairs(judges.all(), measured)
    print_groups(judges, share)
    return 0


class Remembered(Equivalence):
    """A dear judge whose verdicts are wanted by several tables."""

    def __init__(self, judge: Equivalence) -> None:
        self.name, self._judge = judge.name, judge
        self.uses_question = True
        self._verdicts: dict[Hashable, Verdict] = {}

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        new = {self._key(pair): pair for pair in pairs if self._key(pair) not in self._verdicts}
        self._verdicts |= zip(new, self._judge.judge(list(new.values())), strict=True)
        return [self._verdicts[self._key(pair)] for pair in pairs]

    @staticmethod
    def _key(pair: Pair) -> Hashable:
        return pair.question, *sorted((pair.left, pair.right))


class Judges:
    """All judges, with thresholds chosen on these pairs."""

    def __init__(self, tuning: Sequence[Row]) -> None:
        self.embedding = Remembered(load_equivalence("embedding", model=str(MINILM)))
        self.with_question = Remembered(load_equivalence("embedding", model=str(MINILM), question=True))
        self.strict, self.nonstrict = (
            Remembered(load_equivalence("nli", model=str(cached()), rule=rule)) for rule in ("strict", "nonstrict")
        )
        text = load_equivalence("cascade", judges=[TEXT, {"judge": "exact", "trust": "same"}])
        unsure = [row for row, verdict in zip(tuning, asked(text, tuning), strict=True) if verdict.same is None]
        self.chosen = {
            "ngram": picked(load_equivalence("ngram"), tuning),
            "embedding": picked(self.embedding, tuning),
            "embedding with the question": picked(self.with_question, tuning),
            "embedding where text is unsure": picked(self.embedding, unsure),
        }
        self.band = trusted_band(self.embedding, unsure)
        self.unsure = len(unsure) / len(tuning)

    def all(self) -> dict[str, Equivalence]:
        """By what the tables call them."""
        free: dict[str, Equivalence] = {name: load_equivalence(name) for name in ("exact", "text", "ngram", "math")}
        return {
            **free,
            "ngram, tuned": load_equivalence("ngram", threshold=self.chosen["ngram"]),
            "embedding": self.embedding,
            "embedding, tuned": at(self.embedding, self.chosen["embedding"]),
            "embedding with question, tuned": at(self.with_question, self.chosen["embedding with the question"]),
            "nli strict": self.strict,
            "nli nonstrict": self.nonstrict,
            **self.cascades(),
            "text > nli nonstrict": cascade(TEXT, self.nonstrict),
            "text, only same > nli": cascade({"judge": "text", "trust": "same"}, self.strict),
        }

    def cascades(self) -> dict[str, Equivalence]:
        """`text` before another judge has its band; `nli` is by the rule strict."""
        settled = {"judge": self.embedding, "band": [self.chosen["embedding where text is unsure"]] * 2}
        between = {"judge": self.embedding, "band": list(self.band)}
        chains = {
            "cascade": ["text"],
            "text > embedding": [TEXT, settled],
            "text > nli": [TEXT, self.strict],
            "text > embedding > nli": [TEXT, between, self.strict],
        }
        return {name: cascade(*chain) for name, chain in chains.items()}


def cascade(*judges: object) -> Equivalence:
    """These after `exact` and `math`."""
    return load_equivalence("cascade", judges=["exact", "math", *judges])


def at(judge: Equivalence, threshold: float) -> Equivalence:
    """The judge with another threshold on its score."""
    return load_equivalence("cascade", judges=[{"judge": judge, "band": [threshold, threshold]}])


def picked(judge: Equivalence, table: Sequence[Row]) -> float:
    """The threshold that is right most often on these pairs."""
    return best_threshold(*scored(judge, table))


def trusted_band(judge: Equivalence, table: Sequence[Row]) -> tuple[float, float]:
    """Outside of it the score is precise enough, either way; as wide as [0, 1] where it never is."""
    scores, truth = scored(judge, table)
    ends = []
    for values, same in ((scores, truth), ([1 - score for score in scores], [not one for one in truth])):
        try:
            ends.append(best_threshold(values, same, f"precision@{TRUSTED}"))
        except ValueError:
            ends.append(1.0)
    return min(1 - ends[1], ends[0]), ends[0]


def scored(judge: Equivalence, table: Sequence[Row]) -> tuple[list[float], list[bool]]:
    """Scores of the pairs that it decides, and the truth."""
    verdicts = zip(asked(judge, table), table, strict=True)
    found = [(v.score, row["equivalent"]) for v, row in verdicts if v.same is not None and v.score is not None]
    return [score for score, _ in found], [same for _, same in found]


def asked(judge: Equivalence, table: Sequence[Row]) -> Sequence[Verdict]:
    """Its verdicts on labelled pairs."""
    return judge.judge([Pair(row["question"] or None, row["a"], row["b"]) for row in table])


def split(table: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """The pairs to tune on, and those to measure on: of each source as many as are wanted."""
    tuning = [row for row in table if for_tuning(row)]
    by_source: dict[str, list[Row]] = {}
    for row in table:
        if not for_tuning(row):
            by_source.setdefault(row["source"], []).append(row)
    return drawn(tuning, int(TUNING * share)), [
        row for some in by_source.values() for row in drawn(some, int(PAIRS * share))
    ]


def for_tuning(row: Row) -> bool:
    """Whether a row's question is of the half that thresholds are chosen on."""
    return row["source"].startswith("evouna") and hashlib.sha256(row["question"].encode()).digest()[0] % 2 == 0


def drawn(table: Sequence[Row], size: int) -> list[Row]:
    """At most so many, the same every time."""
    return list(table) if len(table) <= size else random.Random(0).sample(list(table), size)


def print_chosen(judges: Judges, tuning: Sequence[Row]) -> None:
    """What was tuned."""
    print(f"Chosen on {len(tuning)} pairs of half of the EVOUNA questions; `text` is unsure of {judges.unsure:.0%}.\n")
    print("| threshold | |\n|---|---|")
    for name, threshold in judges.chosen.items():
        print(f"| {name} | {threshold:.3f} |")
    low, high = judges.band
    print(f"| embedding before nli, where text is unsure | {low:.3f} to {high:.3f} |")


def print_pairs(judges: Mapping[str, Equivalence], table: Sequence[Row]) -> None:
    """Accuracy, precision and recall, each a table: judges by sources. Undecided counts as different, as in use."""
    by_source: dict[str, list[Row]] = {}
    for row in table:
        kind = MATHEMATICAL if row["source"].startswith(MATHEMATICS) else row["source"]
        by_source.setdefault(kind, []).append(row)
    found = {
        name: {
            source: quality([bool(v.same) for v in asked(judge, some)], [row["equivalent"] for row in some])
            for source, some in by_source.items()
            if name != "math" or source == MATHEMATICAL
        }
        for name, judge in judges.items()
    }
    measures: dict[str, Callable[[Quality], float]] = {
        "accuracy": lambda one: one.accuracy,
        "precision": lambda one: one.precision,
        "recall": lambda one: one.recall,
    }
    for measure, value in measures.items():
        print(f"\n| {measure} on pairs | {' | '.join(map(short, by_source))} | mean without mathematics |")
        print("|---" * (len(by_source) + 2) + "|")
        if measure == "accuracy":
            sizes = [len(some) for some in by_source.values()]
            print(f"| (pairs) | {' | '.join(map(str, sizes))} | |")
            print(f"| (one verdict for all) | {' | '.join(map(one_for_all, by_source.values()))} | |")
        for name, qualities in found.items():
            cells = [f"{value(qualities[source]):.3f}" if source in qualities else "" for source in by_source]
            means = [value(one) for source, one in qualities.items() if source != MATHEMATICAL]
            means = [one for one in means if not math.isnan(one)]
            print(f"| {name} | {' | '.join(cells)} | {f'{sum(means) / len(means):.3f}' if means else ''} |")


def short(source: str) -> str:
    """A column's head."""
    return source.replace("_vs_answer", "").replace("_", " ")


def one_for_all(table: Sequence[Row]) -> str:
    """Accuracy of whoever says the same of every pair."""
    same = sum(row["equivalent"] for row in table) / len(table)
    return f"{max(same, 1 - same):.3f}"


def print_groups(judges: Judges, share: float) -> None:
    """AUROC by source, how far the cascades differ from `auto`, and NLI alone on few groups beside `auto`."""
    samples = [row for row in rows("samples.jsonl") if not for_tuning(row)]
    of = {
        source: drawn([row for row in samples if row["source"] == source], max(25, int(GROUPS * share)))
        for source in (*SOURCES, *CONFIDENTLY_WRONG)
    }
    embeddings = {
        "embedding": judges.embedding,
        "embedding, tuned": at(judges.embedding, judges.chosen["embedding"]),
    }
    measured = print_auroc(of, {"auto": None, **embeddings, **judges.cascades()})
    print(f"\n| AUROC beyond auto, 95% | {' | '.join(judges.cascades())} |")
    print("|---" * (len(judges.cascades()) + 1) + "|")
    for source, values in measured.items():
        wrong = [is_wrong(row) for row in of[source]]
        intervals = [interval(wrong, values["auto"], values[name]) for name in judges.cascades()]
        print(f"| {source} | {' | '.join(f'{low:+.3f} to {high:+.3f}' for low, high in intervals)} |")
    few = {source: drawn(of[source], NLI_GROUPS) for source in NLI_SOURCES}
    print_auroc(few, {"auto": None, "embedding": judges.embedding, "nli strict": judges.strict})
    print_hindsight(of, judges)


def print_auroc(
    of: Mapping[str, Sequence[Row]], judges: Mapping[str, Equivalence | None]
) -> dict[str, dict[str, Sequence[float]]]:
    """The table; what it was made of: for each source and judge the entropies."""
    print(f"\n| AUROC | groups | wrong | string | {' | '.join(judges)} |")
    print("|---" * (len(judges) + 4) + "|")
    measured: dict[str, dict[str, Sequence[float]]] = {}
    averaged = []
    for source, groups in of.items():
        wrong = [is_wrong(row) for row in groups]
        if len(set(wrong)) < 2:  # an AUROC needs both kinds
            print(f"| {source} | {len(groups)} | {sum(wrong)} |" + " |" * (len(judges) + 1))
            continue
        values = {"string": entropies(groups, "exact", normalised)}
        values |= {name: entropies(groups, judge) for name, judge in judges.items()}
        scores = [roc_auc_score(wrong, value) for value in values.values()]
        print(f"| {source} | {len(groups)} | {sum(wrong)} | {' | '.join(f'{score:.3f}' for score in scores)} |")
        measured[source] = values
        if source in SOURCES:
            averaged.append(scores)
    means = [sum(column) / len(averaged) for column in zip(*averaged, strict=True)]
    print(f"| **mean** of {len(averaged)} | | | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return measured


def print_hindsight(of: Mapping[str, Sequence[Row]], judges: Judges) -> None:
    """What the embedding could reach at best, alone and after `text`, were the threshold known: it is not."""
    print(f"\n| AUROC by threshold | {' | '.join(map(str, HINDSIGHT))} |")
    print("|---" * (len(HINDSIGHT) + 1) + "|")
    for name, made in {
        "embedding": lambda threshold: at(judges.embedding, threshold),
        "text > embedding": lambda threshold: cascade(TEXT, at(judges.embedding, threshold)),
    }.items():
        for source in SOURCES:
            wrong = [is_wrong(row) for row in of[source]]
            if len(set(wrong)) == 2 and not source.startswith(MATHEMATICS):
                scores = [roc_auc_score(wrong, entropies(of[source], made(threshold))) for threshold in HINDSIGHT]
                print(f"| {name}, {source} | {' | '.join(f'{score:.3f}' for score in scores)} |")


def entropies(
    groups: Sequence[Row], equivalence: str | Equivalence | None, extract: Callable[[str], str] | None = None
) -> Sequence[float]:
    """Of each group's responses, or of the final answers where it has them."""
    responses = [[answer or "" for answer in row.get("preds", row["responses"])] for row in groups]
    with Scorer(equivalence, extract=extract) as scorer:
        return scorer.estimate(responses, question=[row["question"] for row in groups]).entropies


if __name__ == "__main__":
    sys.exit(main())
