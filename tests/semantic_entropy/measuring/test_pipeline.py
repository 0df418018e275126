"""The pipeline: rounds, what is asked, what is not, and judges that break their contract."""

from __future__ import annotations

import pytest

from semantic_entropy import Equivalence, EquivalenceError, Verdict
from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.clusterers import Components, Representative
from semantic_entropy.measuring.pipeline import Job, run
from semantic_entropy.testing import ConformanceError, check_equivalence
from semantic_entropy.types import Pair, Usage


class Recording(Equivalence):
    """Same first letter; keeps what it was asked."""

    def __init__(self):
        self.batches = []

    def judge(self, pairs):
        self.batches.append(list(pairs))
        return [Verdict(pair.left[0] == pair.right[0]) for pair in pairs]


def test_equal_answers_and_equal_keys_are_never_asked():
    class Keyed(Recording):
        def keys(self, question, answers):
            return [answer.lower() if answer != "?" else None for answer in answers]

    judge = Keyed()
    (found,) = run([Job(None, ["A", "a", "A", "?", "?"], judge, Representative())], VerdictCache())
    assert found.labels == (0, 0, 0, 1, 1)
    assert judge.batches == [[Pair(None, "A", "?")]]


def test_groups_share_a_round_and_a_pair_asked_by_two_is_asked_once():
    judge = Recording()
    jobs = [Job("q", ["x1", "y"], judge, Representative()), Job("q", ["y", "x1"], judge, Representative())]
    found = run(jobs, VerdictCache())
    assert len(judge.batches) == 1
    assert len(judge.batches[0]) == 1
    assert [(one.asked, one.cached) for one in found] == [(1, 0), (0, 1)]


def test_a_question_keeps_verdicts_apart_only_where_it_matters():
    class Asking(Recording):
        uses_question = True

    for judge, asked in ((Recording(), 1), (Asking(), 2)):
        cache = VerdictCache()
        for question in ("q1", "q2"):
            run([Job(question, ["a", "b"], judge, Representative())], cache)
        assert sum(map(len, judge.batches)) == asked


def test_judges_with_other_settings_do_not_share_verdicts():
    cache = VerdictCache()
    judges = [Recording(), Recording()]
    for judge in judges:
        run([Job(None, ["a", "b"], judge, Representative())], cache)
    assert [len(judge.batches) for judge in judges] == [1, 1]


def test_an_undecided_pair_is_asked_once_a_run_and_counts_wherever_it_is_wanted():
    class Silent(Recording):
        def judge(self, pairs):
            self.batches.append(list(pairs))
            return [Verdict(None, reason="too long", usage=Usage(1)) for _ in pairs]

    judge = Silent()
    one_by_one = Representative(pick="random")  # the second group comes to (b, c) when the first has asked it
    jobs = [Job(None, ["b", "c"], judge, one_by_one), Job(None, ["a", "b", "c"], judge, one_by_one)]
    found = run(jobs, VerdictCache())
    assert sorted(len(batch) for batch in judge.batches) == [1, 2]
    assert [len(one.undecided) for one in found] == [1, 3]
    assert [(one.asked, one.cached, one.usage) for one in found] == [(1, 0, Usage(1)), (2, 1, Usage(2))]


def test_the_limit_of_a_group_leaves_no_pair_of_another_group_undecided():
    class OnePairAGroup(Recording):
        limits_groups = True

        def judge(self, pairs):
            super().judge(pairs)
            return [Verdict(False) if self.is_paid(pair) else Verdict(None, reason="too long") for pair in pairs]

        def is_paid(self, pair):
            counts = [memory.setdefault(self, []) for memory in pair.groups]
            able = [count for count in counts if not count]
            for count in able:
                count.append(pair)
            return bool(able)

    judge = OnePairAGroup()
    first, second = [Job(None, answers, judge, Representative()) for answers in (["a", "b", "c"], ["0", "b", "c"])]
    together, alone = run([first, second], VerdictCache()), run([second], VerdictCache())[0]
    assert [len(clustering.undecided) for clustering in together] == [2, 2]
    assert together[1].undecided == alone.undecided
    # (b, c) is wanted by both in the second round, and again by a third group in the third round
    third = Job(None, ["-", "0", "b", "c"], judge, Representative(pick="random"))
    judge.batches.clear()
    run([first, third], VerdictCache())
    assert sum(pair[1:] == ("b", "c") for batch in judge.batches for pair in batch) == 2


def test_undecided_is_not_remembered_from_run_to_run():
    class Undecided(Recording):
        def judge(self, pairs):
            super().judge(pairs)
            return [Verdict(None, reason="too long")] * len(pairs)

    judge, cache = Undecided(), VerdictCache()
    for _ in range(2):
        (found,) = run([Job(None, ["a", "b"], judge, Representative())], cache)
    assert len(judge.batches) == 2
    assert found.undecided == ((Pair(None, "a", "b"), "too long"),)


class Planted(Equivalence):
    """A judge with one planted defect."""

    def __init__(self, defect):
        self.defect = defect

    def judge(self, pairs):
        match self.defect:
            case "fewer verdicts":
                return [Verdict(False)] * (len(pairs) - 1)
            case "plain bools":
                return [False] * len(pairs)
            case "raises":
                raise ValueError("out of order")
            case "asymmetric":
                return [Verdict(len(pair.left) < len(pair.right)) for pair in pairs]
            case "batch order":
                return [Verdict(i % 2 == 0) for i in range(len(pairs))]
            case _:
                return [Verdict(False)] * len(pairs)

    def keys(self, question, answers):
        return [0] * len(answers) if self.defect == "keys against the judge" else answers


CONTRACT = [
    ("fewer verdicts", "returned 0 verdicts for 1 pairs"),
    ("plain bools", "returned False for"),
    ("raises", "raised ValueError: out of order"),
]


@pytest.mark.parametrize(("defect", "says"), CONTRACT)
def test_a_judge_that_breaks_its_contract_is_named(defect, says):
    with pytest.raises(EquivalenceError, match=f"'Planted' {says}"):
        run([Job(None, ["a", "b"], Planted(defect), Components())], VerdictCache())


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        ("fewer verdicts", "verdicts for"),
        ("raises", "out of order"),
        ("asymmetric", "asymmetric"),
        ("batch order", "depends on the order of the batch"),
        ("keys against the judge", "equal keys, but the judge says they differ"),
    ],
)
def test_the_conformance_checks_find_planted_defects(defect, says):
    with pytest.raises(ConformanceError, match=says):
        check_equivalence(Planted(defect))


class Paid(Equivalence):
    """Streams out of order, at a price, and breaks off before its last verdict where told to."""

    settings = "paid"
    breaks: BaseException | None = None

    def __init__(self):
        self.asked = []

    def judge(self, pairs):
        return self.collect(pairs)

    def stream(self, pairs):
        for index in reversed(range(len(pairs))):
            if index == 0 and self.breaks:
                raise self.breaks
            self.asked.append(pairs[index])
            yield index, Verdict(False, 0.1, by="inner", usage=Usage(1, 10, 2, 0.5))


@pytest.mark.parametrize("trouble", [EquivalenceError("the server is away"), KeyboardInterrupt()])
def test_what_a_judge_has_answered_is_kept_when_the_rest_fails(trouble):
    judge, cache = Paid(), VerdictCache()
    judge.breaks = trouble
    jobs = [Job(None, ["a", "b", "c", "d"], judge, Representative())]
    with pytest.raises(type(trouble)):
        run(jobs, cache)
    assert len(judge.asked) == len(cache) == 2
    judge.breaks = None
    (found,) = run(jobs, cache)
    assert len(judge.asked) == 6  # each of the six pairs once
    assert (found.asked, found.cached) == (4, 2)


def test_who_decided_and_what_it_cost_are_counted_and_a_cached_verdict_costs_nothing():
    judge, cache = Paid(), VerdictCache()
    jobs = [Job(None, ["a", "b", "c"], judge, Representative())]
    (first,), (again,) = run(jobs, cache), run(jobs, cache)
    assert (first.decided, first.usage) == ({"inner": 3}, Usage(3, 30, 6, 1.5))
    assert (again.decided, again.usage) == ({"inner": 3}, None)


def test_a_stream_that_answers_a_pair_twice_or_not_at_all_breaks_the_contract():
    class Wrong(Paid):
        def stream(self, pairs):
            yield from [(index, Verdict(True)) for index in self.indices]

    jobs = [Job(None, ["a", "b", "c"], judge := Wrong(), Representative())]
    for judge.indices, count in (([0, 0, 1], 3), ([0], 1), ([5], 1)):
        with pytest.raises(EquivalenceError, match=f"returned {count} verdicts for 2 pairs"):
            run(jobs, VerdictCache())
