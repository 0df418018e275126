"""Samples of a run: their rows, and the text that the command shows."""

import json
from dataclasses import replace

from click.testing import CliRunner

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.cli import main
from empo_rl.monitor.samples import LONGEST, TABLE_COLUMNS, report_rows, sample_lines, sample_rows, table_rows
from semantic_entropy import BatchResult
from semantic_entropy.report import report_html


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


def test_a_report_of_the_samples_shows_each_group_with_its_meanings(tmp_path):
    (tmp_path / "run").mkdir()
    stored = [json.loads(json.dumps(row, allow_nan=False)) for row in rows(GROUP, [r"\boxed{1}"] * 4)]
    (tmp_path / "run" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in stored))
    command = ["samples", str(tmp_path / "run"), "--report", str(tmp_path / "report.html")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "2 rows" in done.output
    assert "step 3  2+2?\n      only 2 of 4 responses mean the same" in done.output
    assert r"so \\boxed{4}" in (tmp_path / "report.html").read_text()
    shown = report_rows(stored)
    assert [row["entropy"] for row in shown] == [row["entropy"] for row in stored]
    assert (shown[0]["in the loss"], shown[1]["in the loss"]) == ("yes", "no: entropy not above delta_low")
    del stored[0]["result"]
    (tmp_path / "run" / "samples.jsonl").write_text(json.dumps(stored[0]) + "\n")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "the samples have no 'result': an earlier version wrote them" in refused.output


def test_groups_whose_entropy_was_not_measured_are_in_the_report_without_one():
    group = RolloutGroup(("4", "5"), question="2+2?", gold="4")
    with EmpoProvider("exact", reward="golden", grader="exact") as provider:
        (row,) = sample_rows([group], provider.step([group]), 1)
    assert row["entropy"] is None
    assert '"entropy":null' in report_html(report_rows([{"step": 1, **row}])).replace(": ", ":")


def test_a_row_does_not_depend_on_what_the_cache_holds():
    with EmpoProvider("text") as provider:
        decision = provider.step([GROUP])
    (result,) = decision.results
    provenance = replace(result.provenance, asked=1, cached=result.provenance.pairs - 1)
    cached = replace(decision, results=BatchResult([replace(result, provenance=provenance)]))
    assert result.provenance.asked > 1
    assert sample_rows([GROUP], cached, 1) == sample_rows([GROUP], decision, 1)
