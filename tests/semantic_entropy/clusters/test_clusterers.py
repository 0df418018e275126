"""Clusterers: the partitions they find, the pairs they ask for, and the order they do not depend on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, OptionError, Verdict, estimate, load_clusterer, load_equivalence
from semantic_entropy.clusters.clusterers import Clusterer, Components, LastMatch, Representative
from semantic_entropy.testing import ConformanceError, check_clusterer
from semantic_entropy.types import by_first_appearance

ALL = [
    Representative(),
    Representative("given"),
    Representative(pick="random"),
    Representative(pick="all"),
    Representative(pick="auto"),
    Components(),
    LastMatch(),
]


def drive(clusterer, size, same):
    """The labels, and the pairs asked round by round."""
    flow, rounds = clusterer.flow(size), []
    try:
        wanted = next(flow)
        while True:
            rounds.append(wanted)
            wanted = flow.send([same(i, j) for i, j in wanted])
    except StopIteration as done:
        return done.value, rounds


def algorithm_1(size, same):
    """The paper's Algorithm 1, one answer after the other, with the break that the printed one lacks."""
    clusters, asked = [], []
    for i in range(size):
        for cluster in clusters:
            asked.append((cluster[0], i))
            if same(cluster[0], i):
                cluster.append(i)
                break
        else:
            clusters.append([i])
    labels = [next(c for c, members in enumerate(clusters) if i in members) for i in range(size)]
    return labels, asked


@st.composite
def relations(draw):
    """A symmetric relation over some answers, transitive or not."""
    size = draw(st.integers(0, 9))
    linked = {pair for pair in itertools.combinations(range(size), 2) if draw(st.booleans())}
    return size, lambda i, j: (min(i, j), max(i, j)) in linked


@pytest.mark.parametrize("clusterer", ALL, ids=lambda c: c.describe())
def test_every_clusterer_passes_the_conformance_checks(clusterer):
    check_clusterer(clusterer)


@given(relations())
def test_representative_in_rounds_equals_algorithm_1_pair_for_pair(relation):
    size, same = relation
    labels, rounds = drive(Representative(), size, same)
    expected, asked = algorithm_1(size, same)
    assert labels == expected
    assert sorted(itertools.chain(*rounds)) == sorted(asked)
    assert len(rounds) <= len(set(labels))


@given(relations())
def test_a_random_member_only_joins_a_cluster_that_holds_a_match(relation):
    size, same = relation
    labels, _ = drive(Representative(pick="random", seed=3), size, same)
    for i in range(size):
        earlier = [j for j in range(i) if labels[j] == labels[i]]
        assert not earlier or any(same(j, i) for j in earlier)


@given(relations())
def test_with_all_members_an_answer_joins_the_first_cluster_that_it_matches_throughout(relation):
    size, same = relation
    clusters: list[list[int]] = []
    for i in range(size):
        for cluster in clusters:
            if all(same(member, i) for member in cluster):
                cluster.append(i)
                break
        else:
            clusters.append([i])
    labels, _ = drive(Representative(pick="all"), size, same)
    assert labels == [next(c for c, members in enumerate(clusters) if i in members) for i in range(size)]


def test_a_random_member_is_the_same_draw_for_the_same_seed():
    def same(i, j):
        return (i * j) % 3 != 0

    first = drive(Representative(pick="random", seed=1), 12, same)
    assert first == drive(Representative(pick="random", seed=1), 12, same)


@given(relations())
def test_components_are_the_transitive_closure(relation):
    size, same = relation
    labels, _ = drive(Components(), size, same)
    closure = {(i, j) for i in range(size) for j in range(size) if i == j or same(i, j)}
    for k, i, j in itertools.product(range(size), repeat=3):
        if (i, k) in closure and (k, j) in closure:
            closure.add((i, j))
    assert all((labels[i] == labels[j]) == ((i, j) in closure) for i in range(size) for j in range(size))


@given(relations())
def test_last_match_equals_the_two_nested_loops_of_the_nature_code(relation):
    size, same = relation
    ids, next_id = [-1] * size, 0
    for i in range(size):
        if ids[i] == -1:
            ids[i] = next_id
            for j in range(i + 1, size):
                if same(i, j):
                    ids[j] = next_id
            next_id += 1
    assert drive(LastMatch(), size, same)[0] == ids


LETTERS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8)


@given(LETTERS, st.sets(st.sampled_from(list(itertools.combinations("abcdef", 2)))), st.randoms())
def test_by_default_the_order_of_responses_cannot_change_the_entropy(answers, linked, random):
    """Whatever the judge, transitive or not."""

    def same(left, right):
        return (min(left, right), max(left, right)) in linked

    shuffled = answers[:]
    random.shuffle(shuffled)
    for clusterer in ("representative", "components"):
        one = estimate(answers, equivalence=same, clusterer=clusterer)
        other = estimate(shuffled, equivalence=same, clusterer=clusterer)
        assert one.entropy == other.entropy
        assert by_first_appearance([one.labels[answers.index(a)] for a in shuffled]) == other.labels


def test_given_order_follows_the_responses():
    def same(left, right):
        return {left, right} in ({"a", "b"}, {"b", "c"})  # b is the same as both, a and c differ

    given_order = load_clusterer("representative", order="given")
    assert estimate(["b", "a", "c"], equivalence=same, clusterer=given_order).labels == (0, 0, 0)
    assert estimate(["a", "b", "c"], equivalence=same, clusterer=given_order).labels == (0, 0, 1)


def test_a_wrong_option_is_an_error_that_lists_the_right_ones():
    with pytest.raises(OptionError, match="'canonical', 'given'"):
        load_clusterer("representative", order="random")
    with pytest.raises(OptionError, match="no option 'pik'. Did you mean 'pick'"):
        load_clusterer("representative", pik="first")


class Broken(Clusterer):
    """A clusterer with one planted defect."""

    name = "broken"

    def __init__(self, defect):
        self.defect = defect
        self.order = "given"

    def flow(self, size):
        if self.defect == "asks a pair with itself" and size:
            yield [(0, 0)]
        if self.defect == "too few labels":
            return [0] * max(0, size - 1)
        if self.defect == "never ends":
            while True:
                yield []
        if self.defect == "labels by position":
            return [int(i >= size // 2) for i in range(size)]
        return list(range(size))


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        ("asks a pair with itself", "asks for a pair of an answer and itself"),
        ("too few labels", "returns a list of one label for each"),
        ("never ends", "did not end"),
        ("labels by position", "depend on more than the verdicts"),
        ("never merges", "for a transitive judge with classes"),
    ],
)
def test_the_conformance_checks_find_planted_defects(defect, says):
    with pytest.raises(ConformanceError, match=says):
        check_clusterer(Broken(defect))


class Chain(Equivalence):
    """Neighbours in the alphabet mean the same: not transitive."""

    def __init__(self, cheap):
        self.cheap = cheap

    def judge(self, pairs):
        return [Verdict(abs(ord(pair.left) - ord(pair.right)) < 2) for pair in pairs]


@pytest.mark.parametrize(
    ("pick", "cheap", "labels", "described"),
    [
        ("auto", True, (0, 0, 1), "representative(order=canonical, pick=all)"),
        ("auto", False, (0, 0, 0), "representative(order=canonical)"),
        ("first", True, (0, 0, 0), "representative(order=canonical)"),
        ("all", False, (0, 0, 1), "representative(order=canonical, pick=all)"),
        (None, True, (0, 0, 1), "representative(order=canonical, pick=all)"),
        (None, False, (0, 0, 0), "representative(order=canonical)"),
    ],
)
def test_only_the_clusterers_pick_decides_whether_all_members_are_compared_and_results_state_it(
    pick, cheap, labels, described
):
    clusterer = None if pick is None else load_clusterer("representative", pick=pick)
    result = estimate(["b", "b", "a", "c"], equivalence=Chain(cheap), clusterer=clusterer)
    assert (result.labels[0], *result.labels[2:]) == labels
    assert result.provenance.clusterer == described


class Reversed(Representative):
    name = "reversed"

    def flow(self, size):
        labels = yield from super().flow(size)
        return labels[::-1]


def test_pick_auto_keeps_the_subclass_and_its_options():
    chosen = Reversed(pick="auto", seed=7).for_judge(load_equivalence("exact"))
    assert (type(chosen), chosen.pick, chosen.seed) == (Reversed, "all", 7)
