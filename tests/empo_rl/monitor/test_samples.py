"""Samples of a run: their rows, and the text that the command shows."""

import json

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.monitor.samples import LONGEST, TABLE_COLUMNS, sample_lines, sample_rows, table_rows


def rows(*groups, prompts=2, **options):
    groups = [group if isinstance(group, RolloutGroup) else RolloutGroup(tuple(group)) for group in groups]
    with EmpoProvider("exact", extract="boxed", **options) as provider:
        found = sample_rows(groups, provider.step(groups), prompts)
    return [{"step": 3, **row} for row in found]


GROUP = RolloutGroup(
    (r"so \boxed{4}", r"\boxed{4}", r"\boxed{5}", "I think"),
    question="2+2?",
    gold="4",
    measures={"tokens": (3.0, 2.0, 2.0, 9.0), "truncated": (0.0, 0.0, 0.0, 1.0)},
)


def test_a_row_has_the_clusters_rewards_and_keep_of_a_group_as_json():
    (row,) = json.loads(json.dumps(rows(GROUP), allow_nan=False))
    assert (row["step"], row["question"], row["gold"], row["kept"], row["reason"]) == (3, "2+2?", "4", True, None)
    assert [item["cluster"] for item in row["completions"]] == [0, 0, 1, 2]
    assert [item["reward"] for item in row["completions"]] == [0.5, 0.5, 0.25, 0]
    assert [item["answer"] for item in row["completions"]] == ["4", "4", "5", None]
    assert [item["cut_off"] for item in row["completions"]] == [False, False, False, True]


def test_what_is_not_in_the_loss_or_not_measured_is_null():
    row, dropped = rows(["no", "none", r"\boxed{1}"], [r"\boxed{1}"] * 3, ["x", "y", "z"], invalid="drop")
    assert [item["reward"] for item in row["completions"]] == [None, None, 1]
    assert [item["tokens"] for item in row["completions"]] == [None] * 3
    assert (dropped["kept"], dropped["reason"], dropped["entropy"]) == (False, "entropy not above delta_low", 0.0)


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "a" * 5000 + r"\boxed{1}"
    (row,) = rows([text, "short"])
    stored = row["completions"][0]
    assert stored["characters"] == 5009
    assert stored["text"].startswith("aaaa")
    assert stored["text"].endswith(r"\boxed{1}")
    assert "[... 1009 characters ...]" in stored["text"]
    assert len(stored["text"]) < LONGEST + 40


def test_the_text_shows_the_largest_cluster_first():
    assert list(sample_lines(rows(GROUP)[0])) == [
        "step 3: kept, entropy 1.04 nats, 3 clusters, gold '4'",
        "  question: 2+2?",
        "  [cluster 0, 2/4] answer '4', reward 0.5, 3 tokens",
        r"      so \boxed{4}",
        "  [cluster 0, 2/4] answer '4', reward 0.5, 2 tokens",
        r"      \boxed{4}",
        "  [cluster 1, 1/4] answer '5', reward 0.25, 2 tokens",
        r"      \boxed{5}",
        "  [cluster 2, 1/4] no answer, reward 0, 9 tokens, cut off",
        "      I think",
    ]


def test_the_table_of_a_tracker_has_a_row_for_each_completion():
    table = table_rows(rows(GROUP))
    assert [dict(zip(TABLE_COLUMNS, line, strict=True))["answer"] for line in table] == ["4", "4", "5", None]
