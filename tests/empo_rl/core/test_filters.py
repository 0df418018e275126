import math

import pytest

from empo_rl import EntropyWindow, ShareWindow, smallest_positive_entropy
from empo_rl.core.filters import DROPPED_CERTAIN, DROPPED_HIGH, DROPPED_LOW, DROPPED_NO_ANSWER, DROPPED_SCATTERED
from semantic_entropy import InputError, estimate


@pytest.mark.parametrize(("size", "nats"), [(7, 0.410), (8, 0.377), (12, 0.287), (16, 0.234)])
def test_the_smallest_positive_entropy_is_that_of_all_but_one_agreeing(size, nats):
    assert smallest_positive_entropy(size) == pytest.approx(nats, abs=5e-4)
    responses = ["same"] * (size - 1) + ["other"]
    assert smallest_positive_entropy(size) == pytest.approx(estimate(responses, equivalence="exact").entropy)


@pytest.mark.parametrize(
    ("entropy", "reason"),
    [(0.5, DROPPED_LOW), (0.4, DROPPED_LOW), (0.51, None), (1.49, None), (1.5, DROPPED_HIGH), (2.0, DROPPED_HIGH)],
)
def test_both_bounds_are_strict(entropy, reason):
    assert EntropyWindow(0.5, 1.5).drop_reason(entropy) == reason


def test_a_bound_is_met_despite_rounding():
    ln8 = math.log(8)
    summed = -sum(1 / 8 * math.log(1 / 8) for _ in range(8))
    for entropy in (summed, math.nextafter(ln8, 0), math.nextafter(ln8, 9)):
        assert EntropyWindow(0, ln8).drop_reason(entropy) == DROPPED_HIGH


def test_a_group_without_a_valid_answer_is_outside():
    assert EntropyWindow().drop_reason(math.nan) == DROPPED_NO_ANSWER


def test_the_default_window_removes_only_full_agreement():
    window = EntropyWindow()
    assert window.drop_reason(0.0) == DROPPED_LOW
    assert window.drop_reason(smallest_positive_entropy(8)) is None
    assert window.drop_reason(math.log(8)) is None


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_an_empty_window_is_refused(low, high):
    with pytest.raises(InputError, match="must be smaller than delta_high"):
        EntropyWindow(low, high)


def test_a_delta_low_without_effect_gives_a_note():
    (note,) = EntropyWindow(0.3).check(8)
    assert "0.377" in note
    assert "only groups with H=0" in note
    assert EntropyWindow(0.3).check(12) == []


def test_a_delta_high_without_effect_gives_a_note():
    (note,) = EntropyWindow(0, 3.0).check(8)
    assert "ln G = 2.079" in note


@pytest.mark.parametrize("window", [EntropyWindow(2.1), EntropyWindow(0, 0.3), EntropyWindow(0.4, 0.5)])
def test_a_window_that_keeps_no_group_of_this_size_is_refused(window):
    with pytest.raises(InputError, match="keeps no group at G=8"):
        window.check(8)


@pytest.mark.parametrize("size", [5, 24, 25, 64])
def test_a_window_that_keeps_some_groups_is_accepted(size):
    assert EntropyWindow(smallest_positive_entropy(size) - 1e-3, smallest_positive_entropy(size) + 1e-3).check(size)
    assert EntropyWindow(math.log(size) - 1e-3).check(size) == []
    assert EntropyWindow(-1.0, 0.1).check(size) == []


def test_normalised_bounds_are_shares_of_ln_g_at_every_size():
    window = EntropyWindow(0.25, 0.75, "normalized")
    for size in (4, 16):
        most = math.log(size)
        reasons = [window.drop_reason(share * most, size) for share in (0.25, 0.26, 0.74, 0.75)]
        assert reasons == [DROPPED_LOW, None, None, DROPPED_HIGH]
    assert window.check(8) == []
    (note,) = EntropyWindow(0.1, units="normalized").check(8)
    assert "0.181 of ln G" in note
    with pytest.raises(InputError, match="needs the number of completions"):
        window.drop_reason(0.5)
    with pytest.raises(InputError, match="keeps no group at G=8"):
        EntropyWindow(1.0, units="normalized").check(8)


def test_bounds_of_the_largest_share_are_inclusive():
    window = ShareWindow(0.5, 0.75)
    shares = {"aabb": None, "aaab": None, "abcd": DROPPED_SCATTERED, "aaaa": DROPPED_CERTAIN}
    for answers, reason in shares.items():
        assert window.drop_reason(estimate(list(answers), equivalence="exact")) == reason
    assert ShareWindow(0.2).drop_reason(estimate(list("abcde"), equivalence="exact")) is None
