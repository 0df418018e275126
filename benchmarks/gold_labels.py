"""How often the judge of `semantic-entropy label --gold` agrees with other labels, on ../shared/data/samples.jsonl.

    python benchmarks/gold_labels.py            # the default judge (math, else text)
    python benchmarks/gold_labels.py --gold gold    # without the other accepted answers
    python benchmarks/gold_labels.py -e math --source gsm8k_openai_tora --answers 1500

Each answer with a label is a row: the main answer where a person labelled it (sac3), else each answer of the different
systems (evouna, gsm8k), or the first response. The gold answers are `gold` and `gold_aliases`. A refusal has no label.
"human": people made the other labels; "rule": a program did, so that a difference can be its mistake.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from semantic_entropy import Scorer
from semantic_entropy.io import InputOptions
from semantic_entropy.labelling import ItemOptions, LabelRun, LabelSummary
from semantic_entropy.tables import FieldNames
from tests.shared_data import rows

GOLD = ("gold", "gold_aliases")


def labelled_answers() -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """Return by source who labelled it, and a row for each answer with a label."""
    found: dict[str, tuple[str, list[dict[str, Any]]]] = defaultdict(lambda: ("", []))
    for row in rows("samples.jsonl"):
        gold = {"question": row["question"], "gold": row["gold"], "gold_aliases": row.get("gold_aliases", [])}
        if "answer_correct" in row:
            answers = [(row["answer"], row["answer_correct"])]
        else:
            count = len(row["responses"]) if row["multi_model"] else 1
            answers = list(zip(row["responses"], row["correct"], strict=True))[:count]
        kind = "human" if "human" in row["label_kind"] else "rule"
        _, listed = found.setdefault(row["source"], (kind, []))
        for i, (reply, correct) in enumerate(answers):
            listed.append({"id": f"{row['id']} {i}", **gold, "reply": reply, "answer_correct": correct})
    return dict(found)


def measured(listed: list[dict[str, Any]], scorer: Scorer, gold: tuple[str, ...]) -> LabelSummary:
    """Label the rows as the command does."""
    items = ItemOptions(answer="reply", gold=gold)
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder, "rows.jsonl"), str(Path(folder, "labelled.jsonl"))
        file.write_text("".join(json.dumps(row) + "\n" for row in listed), encoding="utf-8")
        with LabelRun(str(file), output, names=FieldNames(), options=InputOptions(), items=items) as run:
            run.judge(scorer, progress=False)
            return run.finish()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-e", "--equivalence")
    parser.add_argument("--gold", action="append", help="a field with gold answers; default: both")
    parser.add_argument("--source", help="this source only")
    parser.add_argument("--answers", type=int, help="the first answers of each source")
    given = parser.parse_args()
    print("| source | labels by | answers | no answer | agreement | called right but wrong | called wrong but right |")
    print("|---|---|---|---|---|---|---|")
    with Scorer(given.equivalence) as scorer:
        for source, (kind, every) in labelled_answers().items():
            if given.source not in (None, source):
                continue
            listed = every[: given.answers]
            found = measured(listed, scorer, tuple(given.gold or GOLD)).agreement
            share = (found.rows - found.right - found.wrong) / found.rows
            missing = len(listed) - found.rows
            print(f"| {source} | {kind} | {len(listed)} | {missing} | {share:.1%} | {found.right} | {found.wrong} |")


if __name__ == "__main__":
    main()
