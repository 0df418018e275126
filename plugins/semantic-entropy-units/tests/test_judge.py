"""The decisions of the README as a table: pairs that are the same, different, or undecided."""

import pytest

from semantic_entropy.plugin import Pair, errors
from semantic_entropy.testing import ANSWERS, check_equivalence
from semantic_entropy_units.judge import Units

SAME = [
    ("5 cm", "0.05 m"),
    ("5cm", "50 mm"),
    ("1,000 g", "1 kg"),
    ("1 000 g", "1 kg"),
    ("90 km/h", "25 m/s"),
    ("60 miles per hour", "60 mph"),
    ("0 degC", "273.15 K"),
    ("0 °C", "32 °F"),
    ("it is -5 °C", "-5 °C"),
    ("-40 degrees Celsius", "\N{MINUS SIGN}40 °F"),
    ("20℃", "20 °C"),
    ("50%", "0.5"),
    ("50 percent", r"50\%"),
    ("5 µm", "5 \N{GREEK SMALL LETTER MU}m"),
    ("5 µm", "5e-6 m"),
    ("9.8 m/s²", "9.8 m·s⁻²"),
    ("9.8 m/s^2", "9.8 m/s/s"),
    ("9.8 m/s^2", "9.8 meters per second squared"),
    (r"5\text{ cm}", "5 cm"),
    (r"\boxed{5\,\mathrm{m/s^2}}", "5 m/s²"),
    (r"3 \times 10^{8}\ \mathrm{m/s}", "300,000 km/s"),
    (r"$\frac{1}{2}$ m", "50 cm"),
    (r"5\,\frac{\text{m}}{\text{s}}", "18 km/h"),
    ("it is about 5 cm long", "5 cm"),
    ("It took 3 tries to cut it to 5 cm in 2020.", "50 mm"),
    ("It is a 5 m rod.", "500 cm"),
    ("5 kg stone", "5 kg"),
    ("3 foot pounds", "3 lbf ft"),
    ("5 ft 10 in", "70 inches"),
    ("1 hour and 30 minutes", "1.5 h"),
    ("5½ in", "5.5 inches"),
    ("4.18 J/(g K)", "4180 J/(kg·K)"),
    ("1 kWh", "3.6 MJ"),
    ("3 square meters", "3 m2."),
    ("180°", "3.14159265 rad"),
    ("5 N m", "5 J"),
    ("10^5 Pa", "1 bar"),
    ("760 mmHg", "760.0 Torr"),
    ("2 nautical miles", "3704 m"),
    ("I cannot tell", "i  cannot tell"),
]
DIFFERENT = [
    ("5 cm", "5 m"),
    ("5 cm", "6 cm"),
    ("5 cm", "5 kg"),
    ("5 cm", "5 cm^2"),
    ("5 °C", "5 K"),
    ("50", "50%"),
    ("180", "180°"),
    ("1 mile", "1.6 km"),
    ("5 ft 10 in", "6 ft 10 in"),
    ("-5 °C", "5 °C"),
    ("it is -5 °C", "it is 5 °C"),
    ("5", "6"),
]
UNDECIDED = [
    ("5", "5 cm"),  # the question can say "in centimetres", or not
    ("0", "0 m"),
    ("about as long as a thumb", "5 cm"),
    ("long", "short"),
    ("5 apples", "5"),
    ("$5", "€5"),
    ("30 dB", "30 dB(A)"),
    ("3-10 cm", "10 cm"),
    ("3 or 10 cm", "10 cm"),
    ("between 3 and 10 cm", "10 cm"),
    ("10 ± 1 cm", "1 cm"),
    ("2 m \N{MULTIPLICATION SIGN} 3 m", "3 m"),
    ("1,5 m", "5 m"),
    (r"\sqrt{2} m", "2 m"),
    ("5^2 m", "2 m"),
    ("5 m/foo", "5 m"),
    ("5 m/s^99", "5 m/s"),
    ("5 am", "5 am, or so"),
    ("1/0 m", "0 m"),
    ("5 - 3 m", "3 m"),
    ("5 -3 m", "-3 m"),
    ("9 m 8 m 7**2 m", "49 m"),
]
QUANTITIES = sorted({answer for pair in [*SAME, *DIFFERENT, *UNDECIDED] for answer in pair})


def verdict(left, right, **options):
    (one,) = Units(**options).judge([Pair("How long is it?", left, right)])
    return one


@pytest.mark.parametrize(
    ("same", "left", "right"),
    [(same, *pair) for same, pairs in ((True, SAME), (False, DIFFERENT), (None, UNDECIDED)) for pair in pairs],
)
def test_each_decision_holds_in_both_orders(same, left, right):
    assert verdict(left, right).same is same
    assert verdict(right, left).same is same


@pytest.mark.parametrize(("left", "right"), [pair for pair in SAME if pair[0] not in ("180°", "760 mmHg")])
def test_exact_conversions_have_equal_keys_and_need_no_verdict(left, right):
    one, other = Units().keys(None, [left, right])
    assert one == other


@pytest.mark.parametrize("tolerance", [0, 1e-6, 0.01])
def test_it_passes_the_conformance_kit(tolerance):
    check_equivalence(Units(tolerance=tolerance), answers=[*ANSWERS, *QUANTITIES])


def test_a_wider_tolerance_accepts_rounding():
    assert verdict("1 mile", "1.6 km", tolerance=0.01).same is True
    assert verdict("180°", "3.14159265 rad", tolerance=0).same is False


@pytest.mark.parametrize("tolerance", [-1, 1, float("nan")])
def test_an_invalid_tolerance_is_refused(tolerance):
    with pytest.raises(errors.OptionError, match="tolerance"):
        Units(tolerance=tolerance)


def test_an_undecided_verdict_has_a_reason():
    assert verdict("5", "5 cm").reason == "a number without a unit against a quantity with one"
    assert verdict("5 cm", "a thumb").reason == "no quantity in one of the answers"
    assert verdict("big", "small").reason == "no quantity in either answer"
    assert verdict("9" * 3000, "5 cm").reason == "an answer of 3000 characters, over 2000"


def test_the_answer_is_the_last_box_else_the_whole_text():
    long = r"So the length is \boxed{5\text{ cm}}, as wanted."
    assert Units().extract([long, "  5 cm ", "I don't know.", ""]) == [r"5\text{ cm}", "5 cm", None, None]


def test_settings_contain_the_tolerance_and_versions_contain_pint():
    assert Units().settings == Units().settings != Units(tolerance=0.01).settings
    assert set(Units().versions) == {"pint", "semantic-entropy-units"}
