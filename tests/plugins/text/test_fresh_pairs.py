"""Pairs of kinds that a fresh reader of the docs found merged or split against the rule of `text` (2026-11-26)."""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, load_equivalence

SAME, DIFFERENT = True, False

FRESH = {
    "a decimal comma": [
        (DIFFERENT, "0,125", "125"),
        (DIFFERENT, "0,500 kg", "500 kg"),
        (DIFFERENT, "-0,001", "-1"),
        (DIFFERENT, "Die Antwort ist 0,375.", "Die Antwort ist 375."),
        (DIFFERENT, "La probabilidad es 0,250", "La probabilidad es 250"),
        (DIFFERENT, "0,5 million", "5 million"),
        (DIFFERENT, "1,5 million", "15 million"),
        (DIFFERENT, "3,5 km", "5 km"),
        (DIFFERENT, '{"p": "0,125"}', '{"p": "125"}'),
        (SAME, "0,125", "0.125"),
        (SAME, "0,125", "1/8"),
        (SAME, "0,25", "0.25"),
        (SAME, "3,5", "3.5"),
        (SAME, "0,500 kg", "500 g"),
        (SAME, "\u20ac1,50", "1.50 \u20ac"),
        (SAME, "1.234,56 \u20ac", "\u20ac1,234.56"),
        (SAME, "1,500", "1500"),
        (SAME, "1,2,3", "1, 2, 3"),
        (SAME, "(1,2)", "(1, 2)"),
    ],
    "an abbreviated scale": [
        (SAME, "1.5 Mio. \u20ac", "1.500.000 \u20ac"),
        (SAME, "1,5 Mio. \u20ac", "1.500.000 \u20ac"),
        (SAME, "5 Mrd. Euro", "5 billion euros"),
        (SAME, "$5 bn", "$5 billion"),
        (DIFFERENT, "5 Mio. Euro", "5 Mrd. Euro"),
    ],
    "a number that is said twice": [
        (DIFFERENT, "2 by 2", "2 by 4"),
        (DIFFERENT, "3 of 3", "3 of 5"),
        (DIFFERENT, "5 boys and 5 girls", "5 boys and 6 girls"),
        (DIFFERENT, "6 wins and 6 losses", "6 wins and 8 losses"),
        (DIFFERENT, "4x4 grid", "4x8 grid"),
        (DIFFERENT, "$5 now and $5 later", "$5 now and $8 later"),
        (SAME, "5 boys and 5 girls", "5 girls and 5 boys"),
        (SAME, "two by two", "2 by 2"),
    ],
    "the digits of a chemical name": [
        (DIFFERENT, "2,2-dimethylbutane", "2,3-dimethylbutane"),
        (DIFFERENT, "1,1,1-trichloroethane", "1,1,2-trichloroethane"),
        (SAME, "2,3-dimethylbutane", "2,3-Dimethylbutane"),
    ],
    "the words after than, from and to": [
        (DIFFERENT, "Plan A is cheaper than Plan B", "Plan B is cheaper than Plan A"),
        (DIFFERENT, "Line B is longer than line A", "Line A is longer than line B"),
        (DIFFERENT, "Mount Everest is taller than Mount Fuji", "Mount Fuji is taller than Mount Everest"),
        (DIFFERENT, "Lake Superior is larger than Lake Huron", "Lake Huron is larger than Lake Superior"),
        (DIFFERENT, "from Lake Ontario to Lake Erie", "from Lake Erie to Lake Ontario"),
        (
            DIFFERENT,
            "blood flows from the left atrium to the left ventricle",
            "blood flows from the left ventricle to the left atrium",
        ),
        (DIFFERENT, "A is greater than B", "B is greater than A"),
        (DIFFERENT, "A is heavier than C", "C is heavier than A"),
        (DIFFERENT, "The current flows from A to B", "The current flows from B to A"),
        (SAME, "He went from Paris to London by train", "by train, from Paris to London"),
        (SAME, "He moved to London in 1990", "In 1990 he moved to London"),
    ],
    "opposite prepositions": [
        (DIFFERENT, "walked to the school", "walked from the school"),
        (DIFFERENT, "imports to China", "imports from China"),
        (DIFFERENT, "a gift to the mayor", "a gift from the mayor"),
        (DIFFERENT, "evidence for evolution", "evidence against evolution"),
        (DIFFERENT, "for the plaintiff", "against the plaintiff"),
        (DIFFERENT, "with the wind", "against the wind"),
        (DIFFERENT, "on the box", "under the box"),
        (DIFFERENT, "in the box", "on the box"),
        (DIFFERENT, "behind the sofa", "on the sofa"),
        (DIFFERENT, "near Paris", "in Paris"),
        (DIFFERENT, "due by Monday", "due after Monday"),
        (DIFFERENT, "before Monday", "by Monday"),
        (DIFFERENT, "walking toward the house", "walking away from the house"),
        (SAME, "He lives in Paris", "He lives at Paris"),
        (SAME, "in 1969", "on 1969"),
        (SAME, "on Monday", "Monday"),
    ],
    "the numeral I": [
        (DIFFERENT, "copper(I) oxide", "copper(II) oxide"),
        (DIFFERENT, "iron(I)", "iron(II)"),
        (DIFFERENT, "gold(I) cyanide", "gold(III) cyanide"),
        (DIFFERENT, "vanadium(V) oxide", "vanadium(II) oxide"),
        (DIFFERENT, "Apple I computer", "Apple II computer"),
        (DIFFERENT, "Saturn I rocket", "Saturn V rocket"),
        (DIFFERENT, "bipolar I disorder", "bipolar II disorder"),
        (SAME, "Elizabeth I", "Queen Elizabeth I (1558-1603)"),
        (SAME, "Elizabeth I", "elizabeth i"),
        (SAME, "Honestly I don't know, maybe Paris", "Paris"),
        (SAME, "As far as I know, Louis XIV", "Louis XIV"),
        (SAME, "I've been told it was Henry VIII", "told it was Henry VIII"),
    ],
    "a range and a pair": [
        (DIFFERENT, "5-10", "5 and 10"),
        (DIFFERENT, "pages 5-10", "pages 5 and 10"),
        (DIFFERENT, "1990-2000", "1990 and 2000"),
        (DIFFERENT, "Monday to Friday", "Monday and Friday"),
        (DIFFERENT, "Monday through Friday", "Monday and Friday"),
        (DIFFERENT, "Monday-Friday", "Monday and Friday"),
        (SAME, "5-10", "5 to 10"),
        (SAME, "between 5 and 10", "5-10"),
        (SAME, "Monday-Friday", "Monday to Friday"),
        (SAME, "1914 - 1918", "1914-1918"),
        (SAME, "555-1234", "555 1234"),
        (SAME, "2-1 Liverpool", "Liverpool 2-1"),
    ],
    "letters of a type": [
        (DIFFERENT, "Class AB amplifier", "Class B amplifier"),
        (DIFFERENT, "blood type AB negative", "blood type A negative"),
        (DIFFERENT, "blood type AB negative", "A negative"),
        (DIFFERENT, "A negative", "B negative"),
        (DIFFERENT, "Type A blood", "Type AB blood"),
        (SAME, "A major breakthrough", "major breakthrough"),
    ],
    "opposite words in compounds": [
        (DIFFERENT, "short-term memory loss", "long-term memory loss"),
        (DIFFERENT, "symmetric key encryption", "asymmetric key encryption"),
        (DIFFERENT, "supply side economics", "demand side economics"),
        (DIFFERENT, "the flow is directed inward here", "the flow is directed outward here"),
        (DIFFERENT, "the pool is heated and indoor", "the pool is heated and outdoor"),
        (DIFFERENT, "overestimate the value of it", "underestimate the value of it"),
        (DIFFERENT, "a careful driver of cars", "a careless driver of cars"),
        (DIFFERENT, "typical presentation of the illness", "atypical presentation of the illness"),
        (DIFFERENT, "micro level study", "macro level study"),
        (DIFFERENT, "heterozygous dominant trait", "homozygous dominant trait"),
        (DIFFERENT, "prewar period in Europe", "postwar period in Europe"),
        (DIFFERENT, "active voice in grammar", "passive voice in grammar"),
        (DIFFERENT, "top left corner of page", "bottom left corner of page"),
        (DIFFERENT, "the employer pays the tax", "the employee pays the tax"),
        (SAME, "\u00c5land", "Aaland"),
    ],
    "phrases that deny": [
        (DIFFERENT, "He denied that he stole the money", "He stole the money"),
        (DIFFERENT, "He pretended to be a doctor", "He is a doctor"),
        (DIFFERENT, "refused to sign the treaty", "sign the treaty"),
        (DIFFERENT, "free of sugar", "sugar"),
        (DIFFERENT, "free from gluten", "gluten"),
        (SAME, "sugar-free", "free of sugar"),
    ],
    "the unit of a rate": [
        (DIFFERENT, "He earns $5 per hour.", "He earns $5 per day."),
        (DIFFERENT, "So she types 60 words per minute.", "So she types 60 words per hour."),
        (DIFFERENT, "So she saves $20 each week.", "So she saves $20 each month."),
        (DIFFERENT, "$50 monthly", "$50 yearly"),
        (DIFFERENT, "the fee is $5 per person", "the fee is $5 per family"),
        (SAME, "$5 per hour", "$5 an hour"),
        (SAME, "$50 per month", "$50 monthly"),
        (SAME, "$20 every week", "$20 weekly"),
        (SAME, "60 miles per hour", "1 mile per minute"),
    ],
    "noon and midnight": [
        (SAME, "12 PM", "noon"),
        (SAME, "12 noon", "noon"),
        (SAME, "at 12:00 AM", "at midnight"),
        (SAME, "midnight", "00:00"),
        (SAME, "High Noon", "high noon"),
        (SAME, "6.30 a.m.", "6:30 AM"),
        (DIFFERENT, "noon", "midnight"),
    ],
    "a measure with its parts": [
        (SAME, "8.3 minutes", "8 minutes 18 seconds"),
        (SAME, "1 hour 30 minutes", "90 minutes"),
        (SAME, "1 hour and 30 minutes", "1.5 hours"),
        (SAME, "5 ft 10 in", "70 inches"),
        (SAME, "5 km and 300 m", "5.3 km"),
        (SAME, "5 dollars and 50 cents", "$5.50"),
        (DIFFERENT, "1 hour 30 minutes", "30 minutes"),
        (DIFFERENT, "5 dollars and 50 cents", "$5.05"),
        (DIFFERENT, "3 km, 2 km", "5 km"),
    ],
}


@pytest.mark.parametrize(
    ("same", "left", "right"),
    [pytest.param(*pair, id=f"{kind}: {pair[1]} / {pair[2]}") for kind, pairs in FRESH.items() for pair in pairs],
)
def test_a_kind_that_a_fresh_reader_found_is_judged_right(same, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]


@pytest.mark.timeout(60)  # milliseconds each
@pytest.mark.parametrize("piece", ["to x{} ", "than a{} and ", "5 km 3 m {}, ", "{},5 and ", "per {} ", "I {} "])
def test_thousands_of_phrases_are_read_and_compared_once(piece):
    parts = [piece.format(number) for number in range(4000)]
    left, right = "".join(parts), "".join(reversed(parts))
    assert load_equivalence("text").judge([Pair(None, left, right)])
