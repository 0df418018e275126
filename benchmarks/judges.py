"""The quality of all judges that can run here, on ../shared/data.

    python benchmarks/judges.py [--quick]

The first tables show accuracy, precision and recall on labelled pairs. The next tables show how well the entropy of
each judge's clusters detects wrong answers (AUROC, as in benchmarks/hallucination.py). The embedding judge uses the
real all-MiniLM-L6-v2. The NLI judge uses a small model that benchmarks/sick_nli.py trains first if it does not exist.

The thresholds of the rows with "tuned" are chosen on pairs of one half of the EVOUNA questions. No number below is
measured on a question of this half. Three defaults are older, and were chosen on labelled pairs of both halves: the
threshold of the embedding, the 60% of `text`, and the band of `text` in a cascade. Only some pairs and groups of each
source are used (drawn with a fixed seed; the tables show how many), because these judges are slow on a CPU. `--quick`
uses a tenth of these.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from hallucination import CONFIDENTLY_WRONG, MATHEMATICS, SOURCES, is_wrong, normalised
from sick_nli import MINILM, cached
from sklearn.metrics import roc_auc_score

from semantic_entropy import Equivalence, Pair, Scorer, Verdict, load_equivalence

# Internal: the command `semantic-entropy tune-judge` uses these, but has no Python function with a public name.
from semantic_entropy.decisions import Quality, best_threshold, quality
from semantic_entropy.evaluation import compare
from tests.shared_data import SHARED, rows

TUNING, PAIRS, GROUPS, NLI_GROUPS = 1500, 150, 300, 40  # total; maximum of a source; the same for NLI alone
NLI_SOURCES = ("uqnlg_triviaqa", "sac3_nq", "sac3_hotpot")  # samples of one model, which is the use of entropy
HINDSIGHT = (0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # thresholds of the embedding for the last tables
TEXT = {"judge": "text", "band": [0.01, 0.6]}
TRUSTED = 0.9  # minimum precision of the embedding's verdicts, if a more expensive judge follows
MATHEMATICAL = "mathematics"  # the column for all sources of mathematical pairs
Row = dict[str, Any]


def main() -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="use a tenth of the pairs and groups, to test the script")
    share = 0.1 if parser.parse_args().quick else 1.0
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    tuning, measured = split(rows("pairs.jsonl"), share)
    judges = Judges(tuning)
    print_chosen(judges, tuning)
    print_pairs(judges.all(), measured)
    print_groups(judges, share)
    return 0


class Remembered(Equivalence):
    """An expensive judge; its verdicts are kept, because several tables need them."""

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
    """All judges. Their thresholds are chosen on the pairs of `tuning`."""

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
        """All judges by their names in the tables."""
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
        """All cascades. `text` has its band before another judge; `nli` uses the rule strict."""
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
    """A cascade of `exact`, `math` and these judges."""
    return load_equivalence("cascade", judges=["exact", "math", *judges])


def at(judge: Equivalence, threshold: float) -> Equivalence:
    """The judge with another threshold for its score."""
    return load_equivalence("cascade", judges=[{"judge": judge, "band": [threshold, threshold]}])


def picked(judge: Equivalence, table: Sequence[Row]) -> float:
    """The threshold with the most right verdicts on these pairs."""
    return best_threshold(*scored(judge, table))


def trusted_band(judge: Equivalence, table: Sequence[Row]) -> tuple[float, float]:
    """The band outside which the score has the precision TRUSTED, for both verdicts; [0, 1] if it never has."""
    scores, truth = scored(judge, table)
    ends = []
    for values, same in ((scores, truth), ([1 - score for score in scores], [not one for one in truth])):
        try:
            ends.append(best_threshold(values, same, f"precision@{TRUSTED}"))
        except ValueError:
            ends.append(1.0)
    return min(1 - ends[1], ends[0]), ends[0]


def scored(judge: Equivalence, table: Sequence[Row]) -> tuple[list[float], list[bool]]:
    """The scores of the decided pairs, and their labels."""
    verdicts = zip(asked(judge, table), table, strict=True)
    found = [(v.score, row["equivalent"]) for v, row in verdicts if v.same is not None and v.score is not None]
    return [score for score, _ in found], [same for _, same in found]


def asked(judge: Equivalence, table: Sequence[Row]) -> Sequence[Verdict]:
    """The verdicts of the judge on labelled pairs."""
    return judge.judge([Pair(row["question"] or None, row["a"], row["b"]) for row in table])


def split(table: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """The pairs to tune on, and the pairs to measure on: at most PAIRS of each source."""
    tuning = [row for row in table if for_tuning(row)]
    by_source: dict[str, list[Row]] = {}
    for row in table:
        if not for_tuning(row):
            by_source.setdefault(row["source"], []).append(row)
    return drawn(tuning, int(TUNING * share)), [
        row for some in by_source.values() for row in drawn(some, int(PAIRS * share))
    ]


def for_tuning(row: Row) -> bool:
    """Whether the question of a row is in the half for choosing thresholds."""
    return row["source"].startswith("evouna") and hashlib.sha256(row["question"].encode()).digest()[0] % 2 == 0


def drawn(table: Sequence[Row], size: int) -> list[Row]:
    """At most `size` rows, the same in every run."""
    return list(table) if len(table) <= size else random.Random(0).sample(list(table), size)


def print_chosen(judges: Judges, tuning: Sequence[Row]) -> None:
    """Print the chosen thresholds."""
    print(
        f"Chosen on {len(tuning)} pairs of half of the EVOUNA questions; `text` leaves {judges.unsure:.0%} undecided.\n"
    )
    print("| threshold | |\n|---|---|")
    for name, threshold in judges.chosen.items():
        print(f"| {name} | {threshold:.3f} |")
    low, high = judges.band
    print(f"| embedding before nli, where text is unsure | {low:.3f} to {high:.3f} |")


def print_pairs(judges: Mapping[str, Equivalence], table: Sequence[Row]) -> None:
    """Print a table of judges by sources for accuracy, precision and recall. Undecided pairs count as different."""
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
    """The head of a column."""
    return source.replace("_vs_answer", "").replace("_", " ")


def one_for_all(table: Sequence[Row]) -> str:
    """The best accuracy of one verdict for all pairs."""
    same = sum(row["equivalent"] for row in table) / len(table)
    return f"{max(same, 1 - same):.3f}"


def print_groups(judges: Judges, share: float) -> None:
    """Print the AUROC by source, the gain of the cascades over `auto`, and NLI alone on few groups."""
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
        table = compare(values, wrong, reference="auto")
        found = [difference for name in judges.cascades() if (difference := table[name].difference)]
        print(f"| {source} | {' | '.join(f'{each.low:+.3f} to {each.high:+.3f}' for each in found)} |")
    few = {source: drawn(of[source], NLI_GROUPS) for source in NLI_SOURCES}
    print_auroc(few, {"auto": None, "embedding": judges.embedding, "nli strict": judges.strict})
    print_hindsight(of, judges)


def print_auroc(
    of: Mapping[str, Sequence[Row]], judges: Mapping[str, Equivalence | None]
) -> dict[str, dict[str, Sequence[float]]]:
    """Print a table of AUROC; return the entropies for each source and judge."""
    print(f"\n| AUROC | groups | wrong | string | {' | '.join(judges)} |")
    print("|---" * (len(judges) + 4) + "|")
    measured: dict[str, dict[str, Sequence[float]]] = {}
    averaged = []
    for source, groups in of.items():
        wrong = [is_wrong(row) for row in groups]
        if len(set(wrong)) < 2:  # an AUROC needs wrong and right groups
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
    """Print the AUROC of the embedding for each threshold, which is known only afterwards; alone and after `text`."""
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
    """The entropies of the groups: of their final answers if a row has them, else of their responses."""
    responses = [[answer or "" for answer in row.get("preds", row["responses"])] for row in groups]
    with Scorer(equivalence, extract=extract) as scorer:
        return scorer.estimate(responses, question=[row["question"] for row in groups]).entropies


if __name__ == "__main__":
    sys.exit(main())
