"""The table of evaluation sets, compared with the averages that the paper prints."""

from __future__ import annotations

import pytest

from empo_rl.config.templates import TEMPLATES
from empo_rl.data.suites import MMLU_PRO_GROUPS, SETS, SUITES, select_sets
from semantic_entropy import InputError

# Questions in each category of the test split, from the dataset card (TIGER-Lab/MMLU-Pro); 12,032 in total.
MMLU_PRO_QUESTIONS = {
    "math": 1351,
    "physics": 1299,
    "chemistry": 1132,
    "law": 1101,
    "engineering": 969,
    "other": 924,
    "economics": 844,
    "health": 818,
    "psychology": 798,
    "business": 789,
    "biology": 717,
    "philosophy": 499,
    "computer science": 410,
    "history": 381,
}
# Table 2: STEM, Humanities, Social, Other, Avg.
TABLE_2 = [
    (30.1, 23.8, 45.9, 34.3, 32.1),
    (45.7, 36.3, 59.1, 49.4, 46.8),
    (56.9, 38.1, 64.1, 58.6, 55.2),
    (57.1, 36.2, 64.4, 56.6, 54.5),
    (52.4, 34.6, 59.0, 50.9, 50.1),
    (30.8, 28.0, 44.4, 33.0, 32.7),
    (51.9, 35.8, 63.4, 54.4, 51.4),
    (63.6, 47.1, 73.8, 66.7, 62.9),
    (37.0, 27.8, 40.2, 38.0, 36.1),
    (62.9, 42.1, 68.6, 59.8, 59.6),
    (61.4, 41.6, 68.3, 60.0, 58.8),
]


def average(row, groups):
    counts = dict.fromkeys(("STEM", "Humanities", "Social", "Other"), 0)
    for category, count in MMLU_PRO_QUESTIONS.items():
        counts[groups[category]] += count
    return sum(share * count for share, count in zip(row, counts.values(), strict=True)) / sum(counts.values())


def test_the_groups_of_mmlu_pro_give_the_averages_of_the_paper():
    assert sum(MMLU_PRO_QUESTIONS.values()) == 12_032
    for *row, printed in TABLE_2:
        assert average(row, MMLU_PRO_GROUPS) == pytest.approx(printed, abs=0.11)  # each cell is rounded to 0.1


@pytest.mark.parametrize("category", sorted(MMLU_PRO_QUESTIONS))
def test_moving_any_category_to_another_group_does_not_give_the_averages_of_the_paper(category):
    for group in {"STEM", "Humanities", "Social", "Other"} - {MMLU_PRO_GROUPS[category]}:
        moved = {**MMLU_PRO_GROUPS, category: group}
        assert any(abs(average(row, moved) - printed) > 0.11 for *row, printed in TABLE_2)


def test_every_set_of_a_suite_exists_and_has_an_existing_template():
    assert all(name in SETS for names in SUITES.values() for name in names)
    assert all(question_set.template in TEMPLATES for question_set in SETS.values())
    assert len({question_set.title for question_set in SETS.values()}) == len(SETS)


def test_sets_are_selected_by_suite_or_by_name_and_each_once():
    assert [question_set.name for question_set in select_sets(["amc23", "math"])][:2] == ["amc23", "math500"]
    assert len(select_sets(["math", "math", "amc23"])) == 5


@pytest.mark.parametrize(
    ("wrong", "near"), [("maths", "'math'"), ("mmlupro", "'mmlu_pro'"), ("gpqa", "'gpqa_main'|'gpqa_diamond'")]
)
def test_the_error_for_a_wrong_name_suggests_the_nearest_name(wrong, near):
    with pytest.raises(InputError, match=f"{wrong!r} is neither a suite nor a set. Did you mean ({near})"):
        select_sets([wrong])
