"""The cascade: which stage judges and decides which pairs, and the elements of its list."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, InputError, Pair, Scorer, UnknownComponentError, Verdict, load_equivalence
from semantic_entropy.cache.identity import describe_identity
from semantic_entropy.cache.sqlite import CacheFile
from semantic_entropy.cli import main
from semantic_entropy.errors import EquivalenceError, OptionError
from semantic_entropy.testing import check_equivalence
from semantic_entropy.types import Usage


class Table(Equivalence):
    """A judge with a table of verdicts, in either order of a pair, that records its calls."""

    def __init__(self, name="table", settings=None, **verdicts):
        self.name, self.calls, self._settings, self.closed = name, [], settings or name, 0
        self.verdicts = {frozenset(pair): verdict for pair, verdict in verdicts.items()}

    @property
    def settings(self):
        return self._settings

    def judge(self, pairs: Sequence[Pair]):
        self.calls.append([pair.left + pair.right for pair in pairs])
        return [self.verdicts.get(frozenset((pair.left, pair.right)), Verdict(None)) for pair in pairs]

    def close(self):
        self.closed += 1


SAME, DIFFERENT = Verdict(same=True), Verdict(same=False)
ABC = [Pair(None, "a", "b"), Pair(None, "a", "c"), Pair(None, "b", "c")]


def cascade(*judges):
    return load_equivalence("cascade", judges=list(judges))


def test_each_stage_judges_the_undecided_pairs_in_one_call():
    first, second = Table("first", ab=SAME), Table("second", ac=DIFFERENT, bc=SAME)
    verdicts = cascade(first, second).judge(ABC)
    assert [(v.same, v.by) for v in verdicts] == [(True, "first"), (False, "second"), (True, "second")]
    assert first.calls == [["ab", "ac", "bc"]]
    assert second.calls == [["ac", "bc"]]


def test_a_stage_is_not_called_without_undecided_pairs():
    second = Table("second")
    cascade(Table("first", ab=SAME, ac=SAME, bc=SAME), second).judge(ABC)
    assert second.calls == []


def test_verdicts_are_yielded_before_the_next_stage_is_called():
    second = Table("second", ac=SAME, bc=SAME)
    stream = cascade(Table("first", ab=SAME), second).stream(ABC)
    assert next(stream) == (0, Verdict(same=True, by="first"))
    assert second.calls == []
    assert [index for index, _ in stream] == [1, 2]


TRUSTED = [  # trust, band, the first judge's verdict, the verdict of the cascade: None is passed on
    (None, None, Verdict(same=True, score=0.2), True),
    (None, None, Verdict(same=None), None),
    ("same", None, SAME, True),
    ("same", None, DIFFERENT, None),
    ("different", None, SAME, None),
    ("different", None, DIFFERENT, False),
    (None, (0.3, 0.9), Verdict(same=False, score=0.9), True),  # at the high end, whatever the judge's own threshold
    (None, (0.3, 0.9), Verdict(same=True, score=0.89), None),
    (None, (0.3, 0.9), Verdict(same=True, score=0.3), None),  # at the low end
    (None, (0.3, 0.9), Verdict(same=True, score=0.29), False),
    (None, (0.5, 0.5), Verdict(same=False, score=0.5), True),  # a plain threshold
    (None, (0, 1), Verdict(same=False, score=0.0), None),
    (None, (0, 1), Verdict(same=False, score=1.0), True),
    (None, (0.3, 0.9), Verdict(same=None, score=1.0), None),  # an undecided pair stays undecided
    ("same", (0.3, 0.9), Verdict(same=False, score=0.1), None),
    ("different", (0.3, 0.9), Verdict(same=False, score=0.95), None),
]


@pytest.mark.parametrize(("trust", "band", "verdict", "same"), TRUSTED)
def test_trust_and_band_restrict_a_verdict(trust, band, verdict, same):
    first = {"judge": Table("first", ab=verdict), "trust": trust, "band": band}
    (found,) = cascade(first, Table("last", ab=Verdict(None, reason="asleep"))).judge(ABC[:1])
    assert found.same is same
    assert found.by == (None if same is None else "first")
    if same is not None:
        assert found.score == verdict.score


def test_an_undecided_pair_has_the_reasons_of_all_stages():
    judges = [
        {"judge": Table("one", ab=Verdict(same=True, score=0.5)), "band": [0.3, 0.9]},
        {"judge": Table("two", ab=DIFFERENT), "trust": "same"},
        Table("three", ab=Verdict(None, reason="too long")),
    ]
    (verdict,) = cascade(*judges).judge(ABC[:1])
    assert verdict.same is None
    assert verdict.reason == (
        "one: its score 0.500 is in the band [0.3, 0.9]; two: its verdict different does not count; three: too long"
    )


def test_a_verdict_contains_the_cost_of_all_stages():
    first = Table("first", ab=Verdict(None, usage=Usage(1, 10, 2, 0.5)))
    second = Table("second", ab=Verdict(same=True, usage=Usage(1, 20, 1)))
    (verdict,) = cascade(first, Table("free"), second).judge(ABC[:1])
    assert verdict.usage == Usage(2, 30, 3, 0.5)


def test_a_judge_that_occurs_twice_has_two_names():
    judges = [{"judge": "ngram", "band": [0.3, 0.9]}, {"judge": "ngram", "options": {"n": 2}}]
    verdicts = cascade(*judges).judge([Pair(None, "night", "night"), Pair(None, "night", "nights")])
    assert [v.by for v in verdicts] == ["ngram", "ngram 2"]


def test_a_cascade_in_a_cascade_names_the_inner_judge():
    inner = cascade({"judge": Table("one", ab=SAME), "trust": "same"}, Table("two", ac=SAME, bc=DIFFERENT))
    assert [v.by for v in cascade("exact", inner).judge(ABC)] == ["cascade > one", "cascade > two", "cascade > two"]


DEFAULT = [  # question, one answer, another, the same?, the judge that decides
    (None, "Paris", " Paris ", True, "exact"),
    (None, "42", "42.0", True, "math"),
    (None, r"\frac{1}{2}", "0.5", True, "math"),
    (None, "41", "42", False, "math"),
    ("Capital of France?", "Paris", "It is Paris.", True, "text"),
    ("Capital of France?", "Paris", "Rome", False, "text"),
    ("Six times seven?", "42", "It is forty-two", True, "text"),  # one of them is not mathematics
    ("Six times seven?", "42", "forty-three", False, "text"),
]


@pytest.mark.parametrize(("question", "left", "right", "same", "by"), DEFAULT)
def test_the_default_needs_no_model_and_asks_each_judge_about_the_pairs_that_suit_it(question, left, right, same, by):
    (verdict,) = load_equivalence("cascade").judge([Pair(question, left, right)])
    assert (verdict.same, verdict.by) == (same, by)


def test_before_the_last_stage_text_passes_on_pairs_with_a_middle_score():
    last = Table("last")
    question = "What did he discover?"
    answers = [
        ("penicillin", "It was penicillin"),
        ("penicillin", "insulin"),
        ("a mould", "a new kind of mould and of yeast"),
        ("one slime mould", "one bread mould"),  # two of three words
        ("slime mould", "bread mould"),  # one of two
    ]
    verdicts = cascade("text", last).judge([Pair(question, left, right) for left, right in answers])
    assert [v.by for v in verdicts] == ["text", "text", "text", "text", None]
    assert last.calls == [["slime mouldbread mould"]]


@pytest.mark.parametrize("other", ['{"a": 2}', "!!", '{"a": 1.0}'])
def test_text_gives_every_pair_a_score(other):
    verdicts = cascade("text", Table("last")).judge([Pair(None, '{"a": 1}', other), Pair(None, "??", other)])
    assert [v.by for v in verdicts] == ["text", "text"]


def test_before_the_last_stage_only_same_counts_of_an_embedding():
    near, far = Verdict(same=True, score=0.95), Verdict(same=False, score=0.5)
    last = Table("last")
    cascade(Table("embedding", ab=near, ac=far), last).judge(ABC)
    assert last.calls == [["ac", "bc"]]


def test_the_last_stage_judges_all_remaining_pairs():
    verdicts = cascade("exact", "math").judge([Pair(None, "Paris", "Rome"), Pair(None, "1", "1.0")])
    assert [(v.same, v.by) for v in verdicts] == [(False, "math"), (True, "math")]


def test_the_first_stage_that_suits_the_responses_extracts_the_answers():
    judge = load_equivalence("cascade")
    assert judge.extract([r"So it is \boxed{5}.", r"\boxed{\frac12}"]) == ["5", r"\frac12"]
    assert judge.extract(["<think>5 or 6?</think>Paris", "Rome"]) == ["Paris", "Rome"]
    assert judge.extract(["", "I don't know."]) == [None, None]


def test_a_stage_gives_keys_if_no_earlier_stage_can_decide_different():
    answers = ["42", "42.0", " Paris", "Paris", "It is Paris"]
    one, two, three, four, five = load_equivalence("cascade").keys(None, answers)
    assert one == two
    assert three == four
    assert len({one, three, five}) == 3
    denier = {"judge": Table("denier", ab=DIFFERENT), "trust": "different"}
    assert cascade(denier, "math").keys(None, answers) == answers
    assert cascade("exact", denier, "math").keys(None, ["42 ", "42", "42.0"]) == [(0, "42"), (0, "42"), (0, "42.0")]


WORDS = st.lists(st.sampled_from("paris rome not yes 42 42.0 \\frac{1}{2} 0.5 the 1912 mould".split()), max_size=4)


@given(WORDS, WORDS)
def test_verdicts_are_symmetric_and_agree_with_the_keys(one, other):
    judge = cascade("exact", {"judge": "ngram", "band": [0.05, 0.9]}, "text")
    left, right = " ".join(one), " ".join(other)
    there, back = judge.judge([Pair("Who?", left, right), Pair("Who?", right, left)])
    assert there == back
    if len(set(judge.keys("Who?", [left, right]))) == 1:
        assert there.same is True


@pytest.mark.parametrize("judges", [["exact", "math", "text"], ["exact", {"judge": "ngram", "band": [0.2, 0.8]}]])
def test_it_passes_the_conformance_checks(judges):
    with_answers = load_equivalence("cascade", judges=judges)
    check_equivalence(with_answers)
    with_answers.close()


def test_it_is_cheap_and_uses_the_question_if_its_stages_do():
    assert cascade("exact", "ngram").cheap
    assert not cascade("exact", "ngram").uses_question
    assert cascade("exact", "text").uses_question
    assert not cascade("math", "text").cheap


def test_settings_are_plain_values_and_contain_what_decides(tmp_path):
    given = [["exact", "text"], ["text", "exact"], [{"judge": "exact", "trust": "both"}, "text"]]
    given += [["exact", {"judge": "text", "band": [0.5, 0.5]}], ["exact", {"judge": "text", "trust": "same"}]]
    settings = [load_equivalence("cascade", judges=judges).settings for judges in given]
    assert len(set(settings)) == len(given)
    answers = ["Paris", "Rome", "It is Paris"]
    for found in (0, 3):  # as in a second process
        with Scorer(cascade("exact", Slow()), cache=tmp_path / "verdicts") as scorer:
            scorer.estimate(answers)
            assert isinstance(scorer.cache, CacheFile)
            assert scorer.cache.found == found


class WithoutSettings(Equivalence):
    def judge(self, pairs):
        return [Verdict(False) for _ in pairs]


def test_a_cascade_has_one_identity_in_output_files_even_if_a_stage_has_no_settings():
    one, other = (describe_identity(cascade("exact", WithoutSettings())) for _ in range(2))
    assert one == other


def test_settings_contain_the_rules_of_the_stages(monkeypatch):
    before = cascade("exact", Slow()).settings
    monkeypatch.setattr(Slow, "rules", 2)
    assert cascade("exact", Slow()).settings != before


class Slow(Equivalence):
    name = "slow"
    settings = "slow"

    def judge(self, pairs):
        return [Verdict(pair.left[-5:] == pair.right[-5:]) for pair in pairs]


def test_versions_contain_those_of_all_stages():
    class Versioned(Table):
        @property
        def versions(self):
            return {"torch": "2", "model": self.name}

    found = cascade("math", Versioned("one"), Versioned("two")).versions
    assert found.keys() == {"math-verify", "torch", "model", "model (two)"}
    assert (found["model"], found["model (two)"]) == ("one", "two")


def test_describe_shows_all_stages():
    judge = cascade("exact", "math", {"judge": "ngram", "band": [0.3, 0.9]}, "text")
    assert judge.describe() == ("cascade(exact trust=same > math > ngram(n=3, threshold=0.6) band=[0.3, 0.9] > text)")


def test_it_closes_only_the_judges_that_it_has_loaded():
    mine = Table("mine")
    judge = cascade("math", mine)
    closed = []
    judge.stages[0].judge.close = lambda: closed.append("math")
    judge.close()
    judge.close()
    assert closed == ["math", "math"]
    assert mine.closed == 0


def test_a_function_of_two_texts_is_a_judge():
    assert [v.same for v in cascade("exact", lambda a, b: a < b or None).judge(ABC)] == [None, None, None]
    assert [v.by for v in cascade(lambda a, b: a != b, "exact").judge(ABC)] == ["<lambda>"] * 3


WRONG = [  # judges, a part of the message
    ([], "at least one judge"),
    ("exact", "must be a list"),
    ([{"options": {}}], "has no 'judge'"),
    ([{"judge": "exact", "bands": [0, 1]}], "has 'bands'; a stage has judge, options, trust, band"),
    ([{"judge": "exact", "trust": "none"}], "trust='none' is unknown. Use one of: both, same, different"),
    ([{"judge": "ngram", "band": [0.9, 0.3]}], "a low end above its high end"),
    ([{"judge": "ngram", "band": [0.9]}], "must be two numbers"),
    ([{"judge": "ngram", "band": [0, 2]}], "must be two numbers in [0, 1]"),
    ([{"judge": "ngram", "band": ["0", "1"]}], "must be two numbers"),
    ([{"judge": "ngram", "band": 0.5}], "must be two numbers"),
    ([{"judge": "ngram", "options": [3]}], "must be a mapping"),
    ([{"judge": Table(), "options": {"n": 3}}], "only a judge given by name takes options"),
    ([Table], "is not a judge"),
    ([7], "is not a judge"),
    ([{"judge": "ngram", "options": {"m": 3}}], "Its options: n=3, threshold=0.6"),
]


@pytest.mark.parametrize(("judges", "message"), WRONG)
def test_an_invalid_list_is_an_error_that_says_what_to_write(judges, message):
    with pytest.raises(InputError) as caught:
        load_equivalence("cascade", judges=judges)
    assert message in str(caught.value)


def test_an_unknown_judge_is_an_error_with_a_suggestion():
    with pytest.raises(UnknownComponentError, match="Did you mean 'embedding'"):
        cascade("exact", "embeding")


def test_an_error_in_the_last_element_closes_the_loaded_judges(monkeypatch):
    closed = []
    monkeypatch.setattr("semantic_entropy_plugins.math.math_judge.Math.close", lambda judge: closed.append(judge.name))
    with pytest.raises(OptionError):
        cascade("math", {"judge": "ngram", "options": {"n": 0}})
    assert closed == ["math"]


class Broken(Table):
    def __init__(self, name, how):
        super().__init__(name)
        self.how = how

    def stream(self, pairs):
        return self.how(pairs)


def raising(pairs):
    yield 0, SAME
    raise RuntimeError("no more")


BROKEN = [
    (raising, "equivalence 'broken' raised RuntimeError: no more"),
    (lambda pairs: iter([(0, SAME)]), "equivalence 'broken' returned 1 verdicts for 3 pairs"),
    (lambda pairs: iter([(0, SAME), (0, SAME)]), "equivalence 'broken' returned 2 verdicts for 3 pairs"),
    (lambda pairs: iter([(7, SAME)]), "equivalence 'broken' returned 1 verdicts for 3 pairs"),
    (lambda pairs: iter([(0, True)]), "equivalence 'broken' returned True for"),
]


@pytest.mark.parametrize(("how", "message"), BROKEN)
def test_the_error_names_a_stage_that_breaks_its_contract(how, message):
    with pytest.raises(EquivalenceError) as caught:
        cascade("exact", Broken("broken", how), Table("last")).judge(ABC)
    assert message in str(caught.value)


@pytest.mark.parametrize("same", [True, False])
def test_a_score_that_is_not_a_number_does_not_decide(same):
    first = {"judge": Table("first", ab=Verdict(same, float("nan"))), "band": [0.2, 0.8]}
    (verdict,) = cascade(first, Table("second", ab=SAME)).judge(ABC[:1])
    assert (verdict.same, verdict.by) == (True, "second")
    (verdict,) = cascade(first, Table("second")).judge(ABC[:1])
    assert verdict.same is None
    assert "first: its score is not a number" in verdict.reason


def test_a_band_on_a_judge_without_a_score_is_an_error_that_says_what_to_do():
    with pytest.raises(EquivalenceError, match='"trust"'):
        cascade({"judge": "exact", "band": [0.2, 0.8]}, "text").judge(ABC)


def test_the_command_line_accepts_the_list_as_json(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "Capital?", "responses": ["Paris", "It is Paris", "Rome"]}) + "\n")
    judges = 'judges=["exact", "math", {"judge": "ngram", "band": [0.1, 0.9]}, "text"]'
    ran = CliRunner().invoke(main, ["estimate", str(file), "-e", "cascade", "--option", judges, "--quiet"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.stdout)
    assert result["labels"] == [0, 0, 1]
    assert "exact trust=same > math > ngram" in result["provenance"]["equivalence"]
