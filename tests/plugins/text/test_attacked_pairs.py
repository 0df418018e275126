"""Pairs from an attack on the judge `text` and from fresh inputs (2026-11-26), and time on degenerate answers."""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, load_equivalence

SAME, DIFFERENT = True, False

ATTACKED = {
    "the sign of money": [
        (DIFFERENT, "-$5", "$5"),
        (DIFFERENT, "-$5 million", "$5 million"),
        (DIFFERENT, "It was -$5 million.", "It was $5 million."),
        (DIFFERENT, "\u2212\u20ac3", "\u20ac3"),
        (DIFFERENT, "minus $5", "$5"),
        (SAME, "-$5", "-5 dollars"),
        (SAME, "-$5", "minus $5"),
    ],
    "the sign of an exponent": [
        (DIFFERENT, "1e-9", "1e9"),
        (DIFFERENT, "about 2e-3 m", "about 2e3 m"),
        (SAME, "1E-3", "0.001"),
        (SAME, "2e3", "2000"),
    ],
    "the scale of a range": [
        (DIFFERENT, "2-3 million", "2-3 billion"),
        (DIFFERENT, "$2-3 million", "$2-3 billion"),
        (DIFFERENT, "5\u201310 million people", "5\u201310 billion people"),
        (DIFFERENT, "5-10", "5-10 million"),
        (SAME, "2-3 million", "2 million to 3 million"),
        (SAME, "between 2 and 3 million", "between 2 million and 3 million"),
    ],
    "times and zones": [
        (DIFFERENT, "UTC+5", "UTC-5"),
        (DIFFERENT, "GMT+1", "GMT-1"),
        (DIFFERENT, "UTC+05:30", "UTC-05:30"),
        (DIFFERENT, "20:17 UTC", "20:17 EST"),
        (DIFFERENT, "1969-07-20T20:17:00Z", "1969-07-20T20:17:00+02:00"),
        (SAME, "UTC+5", "GMT+05:00"),
        (SAME, "20:17 UTC", "20:17"),
        (DIFFERENT, "quarter past eight", "quarter to eight"),
        (DIFFERENT, "at ten to five", "at ten past five"),
        (DIFFERENT, "five to nine", "nine to five"),
        (SAME, "a quarter to nine", "8:45"),
        (SAME, "half past two", "2:30"),
        (SAME, "from five to ten", "5 to 10"),
    ],
    "a unit against a counted noun": [
        (DIFFERENT, "3 days", "3 people"),
        (DIFFERENT, "6 years", "6 wives"),
        (DIFFERENT, "The king ruled 6 years", "The king had 6 wives"),
        (DIFFERENT, "20%", "20 people"),
        (DIFFERENT, "20 percent", "20 young people"),
        (DIFFERENT, "$20", "20 people"),
        (DIFFERENT, "10 minutes", "10 questions"),
        (DIFFERENT, "4 times a day", "4 days"),
        (SAME, "5 km", "5 km away"),
        (SAME, "20 years", "20 years old"),
        (SAME, "3 days", "3 business days"),
        (SAME, "$5", "5 dollars"),
        (SAME, "\u00a35", "5 pounds"),
        (SAME, "3 people", "3"),
        (SAME, "3 people", "3 young people"),
        (SAME, "50%", "50"),
    ],
    "units and currencies that the table lacked": [
        (DIFFERENT, "The recommended dose is 500 mcg.", "The recommended dose is 500 mg."),
        (DIFFERENT, "5 mg", "5 IU"),
        (DIFFERENT, "5 mg/kg", "5 mcg/kg"),
        (DIFFERENT, "10 bpm", "10 mmHg"),
        (DIFFERENT, "5 Mbps", "5 Gbps"),
        (DIFFERENT, "5 GB", "5 Gb"),
        (DIFFERENT, "5 Nm", "5 nm"),
        (DIFFERENT, "5 fps", "5 mph"),
        (DIFFERENT, "5 BTU", "5 kJ"),
        (DIFFERENT, "5 barrels", "5 gallons"),
        (DIFFERENT, "5 pc", "5 ly"),
        (DIFFERENT, "3 ppm", "3 ppb"),
        (SAME, "500 mcg", "0.5 mg"),
        (SAME, "9.8 m/s", "9.8 meters per second"),
        (DIFFERENT, "\u00a5500", "$500"),
        (SAME, "\u00a5500", "500 yen"),
        (DIFFERENT, "Rs 500", "$500"),
        (DIFFERENT, "500 won", "500 yen"),
        (DIFFERENT, "\u20bf5", "$5"),
        (DIFFERENT, "5 kr", "5 \u20ac"),
        (DIFFERENT, "500 Australian dollars", "500 US dollars"),
        (DIFFERENT, "5\u5143", "5\u7f8e\u5143"),
        (DIFFERENT, "5\u5186", "5\u30c9\u30eb"),
        (DIFFERENT, "50 percent", "50 percentage points"),
        (DIFFERENT, "25 basis points", "25%"),
        (SAME, "25 basis points", "0.25 percentage points"),
        (DIFFERENT, "5\u2030", "5%"),
    ],
    "formulas of letters": [
        (DIFFERENT, "v = u + at", "v = u - at"),
        (DIFFERENT, "y = mx + b", "y = mx - b"),
        (DIFFERENT, "E = mc^2", "E = mc"),
        (DIFFERENT, "E = mc^2", "E = -mc^2"),
        (DIFFERENT, "\u03c0r\u00b2", "2\u03c0r"),
        (DIFFERENT, "F = kx", "F = -kx"),
        (DIFFERENT, "\u0394G = \u0394H - T\u0394S", "\u0394G = \u0394H + T\u0394S"),
        (DIFFERENT, "a\u00b2 + b\u00b2 = c\u00b2", "a\u00b2 - b\u00b2 = c\u00b2"),
        (DIFFERENT, "profit = revenue - cost", "profit = revenue + cost"),
        (DIFFERENT, "speed = distance / time", "speed = distance * time"),
        (DIFFERENT, "b^2-4ac", "b^2+4ac"),
        (DIFFERENT, "s = ut + 1/2 at^2", "s = ut - 1/2 at^2"),
        (DIFFERENT, "R - r", "r - R"),
        (SAME, "E = m c^2", "E=mc\u00b2"),
        (SAME, "y = mx + b", "y = b + mx"),
        (SAME, "A = \u03c0r\u00b2", "\u03c0 r^2"),
        (SAME, "V = I*R", "V=IR"),
        (SAME, "f = ma", "F = ma"),
        (SAME, "The answer is v = u + at", "v = u + at"),
    ],
    "symbols and code": [
        (DIFFERENT, "A \u222a B", "A \u2229 B"),
        (DIFFERENT, "x \u2208 A", "x \u2209 A"),
        (DIFFERENT, "A \u2282 B", "A \u2283 B"),
        (DIFFERENT, "p \u2227 q", "p \u2228 q"),
        (DIFFERENT, "\u00acp", "p"),
        (DIFFERENT, "\u2200x", "\u2203x"),
        (DIFFERENT, "a && b", "a || b"),
        (DIFFERENT, "!x", "x"),
        (DIFFERENT, "x += 1", "x -= 1"),
        (DIFFERENT, "x % 2", "x / 2"),
        (DIFFERENT, "a[1:]", "a[:1]"),
        (SAME, "**Rome**", "Rome"),
        (SAME, "- Rome", "Rome"),
        (SAME, "Rome!", "Rome"),
        (SAME, "AC / DC", "AC/DC"),
    ],
    "function words that exclude each other": [
        (DIFFERENT, "The tenant must pay", "The tenant may pay"),
        (DIFFERENT, "The tenant shall pay", "The tenant may pay"),
        (DIFFERENT, "It has been abolished", "It will be abolished"),
        (DIFFERENT, "until 1945", "from 1945"),
        (DIFFERENT, "before 1945", "in 1945"),
        (DIFFERENT, "in 5 years", "5 years ago"),
        (DIFFERENT, "every 4 hours", "for 4 hours"),
        (DIFFERENT, "during the war", "after the war"),
        (DIFFERENT, "if it rains", "unless it rains"),
        (DIFFERENT, "only if it rains", "even if it rains"),
        (DIFFERENT, "because of the rain", "despite the rain"),
        (DIFFERENT, "flows into the lake", "flows out of the lake"),
        (DIFFERENT, "a known risk", "an unknown risk"),
        (DIFFERENT, "only one", "at least one"),
        (DIFFERENT, "return a and b", "return a or b"),
        (SAME, "It happened in 1945", "It happened on 1945"),
        (SAME, "since 1945", "from 1945"),
        (SAME, "He was king", "He is king"),
        (SAME, "because of the rain", "due to the rain"),
        (SAME, "It may rain in May", "It might rain in May"),
    ],
    "equal words with exchanged roles": [
        (DIFFERENT, "5 is larger than 7", "7 is larger than 5"),
        (DIFFERENT, "Mars is bigger than Venus", "Venus is bigger than Mars"),
        (DIFFERENT, "from Paris to London", "from London to Paris"),
        (DIFFERENT, "prefers tea to coffee", "prefers coffee to tea"),
        (DIFFERENT, "aspirin over ibuprofen", "ibuprofen over aspirin"),
        (SAME, "Mars is bigger than Venus", "bigger than Venus is Mars"),
        (SAME, "written by Mary Shelley in 1818", "In 1818 it was written by Mary Shelley"),
    ],
    "hidden negations": [
        (DIFFERENT, "anything but safe", "safe"),
        (DIFFERENT, "It is far from safe", "It is safe"),
        (DIFFERENT, "I doubt it is safe", "It is safe"),
        (DIFFERENT, "It's a myth that it's safe", "It's safe"),
        (DIFFERENT, "It would be wrong to say it is safe", "It is safe"),
        (DIFFERENT, "It fails to be safe", "It is safe"),
        (DIFFERENT, "other than penicillin", "penicillin"),
        (DIFFERENT, "honey instead of sugar", "sugar instead of honey"),
        (DIFFERENT, "Yes, it is", "Yes, it isn't"),
        (SAME, "no doubt that it is Paris", "Paris"),
        (SAME, "none other than Paris", "Paris"),
        (SAME, "honey instead of sugar", "honey"),
    ],
    "more opposites": [
        (DIFFERENT, "The bill was passed by the Senate", "The bill was rejected by the Senate"),
        (DIFFERENT, "the court upheld the law", "the court struck down the law"),
        (DIFFERENT, "sodium enters the cell", "sodium leaves the cell"),
        (DIFFERENT, "The company hired 500 people", "The company fired 500 people"),
        (DIFFERENT, "kinetic energy of the ball", "potential energy of the ball"),
        (DIFFERENT, "X-linked dominant", "X-linked recessive"),
        (DIFFERENT, "the sympathetic nervous system", "the parasympathetic nervous system"),
        (DIFFERENT, "cis-2-butene", "trans-2-butene"),
        (DIFFERENT, "John Smith Jr.", "John Smith Sr."),
        (DIFFERENT, "William Pitt the Elder", "William Pitt the Younger"),
        (DIFFERENT, "fiscal year 2023", "calendar year 2023"),
        (DIFFERENT, "a fine of up to $5,000", "a fine of at least $5,000"),
    ],
    "ranks, parts and odds": [
        (DIFFERENT, "the largest city in France", "the second largest city in France"),
        (SAME, "the second largest city", "the 2nd largest city"),
        (DIFFERENT, "second to last", "second"),
        (SAME, "second to last", "next-to-last"),
        (DIFFERENT, "a tenth", "ten"),
        (SAME, "a tenth", "1/10"),
        (DIFFERENT, "odds of 4 to 1", "odds of 1 to 4"),
    ],
    "case and addresses": [
        (DIFFERENT, "CO", "Co"),
        (DIFFERENT, "HF", "Hf"),
        (SAME, "paris", "Paris"),
        (SAME, "PARIS", "Paris"),
        (SAME, "NO", "No"),
        (DIFFERENT, "user@example.com", "user@example.org"),
        (SAME, "user@example.com", "User@Example.com"),
    ],
    "pairs": [
        (DIFFERENT, "Alice: 3, Bob: 5", "Alice: 5, Bob: 3"),
        (SAME, "Alice: 3, Bob: 5", "Bob: 5; Alice: 3"),
        (DIFFERENT, "{'a': 1, 'b': 2}", "{'a': 2, 'b': 1}"),
        (SAME, "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
        (SAME, "{'a': 1}", '{"a": 1}'),
        (DIFFERENT, "(1, 2)", "(2, 1)"),
        (DIFFERENT, "['a', 'b']", "['b', 'a']"),
    ],
    "other languages": [
        (DIFFERENT, "3,5 Millionen", "3,5 Milliarden"),
        (SAME, "3,5 Millionen", "3.5 million"),
        (DIFFERENT, "5 millones", "5 mil millones"),
        (DIFFERENT, "5 mil", "5"),
        (DIFFERENT, "vor dem Krieg", "nach dem Krieg"),
        (DIFFERENT, "mehr als 5", "weniger als 5"),
        (DIFFERENT, "auf der linken Seite", "auf der rechten Seite"),
        (DIFFERENT, "avant la guerre", "apr\u00e8s la guerre"),
        (DIFFERENT, "plus de 5", "moins de 5"),
        (DIFFERENT, "antes de la guerra", "despu\u00e9s de la guerra"),
        (DIFFERENT, "al norte del r\u00edo", "al sur del r\u00edo"),
        (DIFFERENT, "ning\u00fan riesgo", "riesgo"),
    ],
    "a leading ordinal is no list mark": [
        (DIFFERENT, "20. Juli 1969", "21. Juli 1969"),
        (DIFFERENT, "1. Weltkrieg", "2. Weltkrieg"),
        (DIFFERENT, "16. Jahrhundert", "17. Jahrhundert"),
        (DIFFERENT, "1. e4", "2. e4"),
        (SAME, "20. Juli 1969", "20.07.1969"),
        (SAME, "1. Paris", "Paris"),
        (SAME, "1) Paris", "Paris"),
        (SAME, "1. Yes", "Yes"),
        (SAME, "1. red\n2. green", "red, green"),
    ],
}


FRESH = {  # source: fresh inputs 2026-11-26
    "numbers, dates and scores do not outvote the only name": [
        (DIFFERENT, "2-1 Liverpool", "2-1 Chelsea"),
        (DIFFERENT, "Germany 7-1", "Brazil 7-1"),
        (DIFFERENT, "2-1 to Liverpool", "2-1 to Chelsea"),
        (DIFFERENT, "3-0 over Spain", "3-0 over Italy"),
        (DIFFERENT, "won 2-1 by Liverpool", "won 2-1 by Chelsea"),
        (DIFFERENT, "cost of $5 to Ann", "cost of $5 to Bob"),
        (DIFFERENT, "80 to Liverpool", "80 to Chelsea"),
        (DIFFERENT, "Paris, 4 July 1776", "London, 4 July 1776"),
        (DIFFERENT, "Ann arrived on Monday, 4 July 1776", "Bob left on Monday, 4 July 1776"),
        (DIFFERENT, "aspirin 75-100 mg", "heparin 75-100 mg"),
        (DIFFERENT, "ibuprofen 400 mg every 6 hours", "naproxen 400 mg every 6 hours"),
        (DIFFERENT, "aspirin 75 mg", "clopidogrel 75 mg"),
        (SAME, "July 4, 1776", "on Thursday, 4 July 1776"),
        (SAME, "Paris, 4 July 1776", "4 July 1776"),
        (SAME, "born in Ulm in Germany in 1879", "in 1879 born in Ulm"),
        (SAME, "Germany 7-1", "7-1"),
        (SAME, "Germany won 7-1", "Germany 7-1"),
    ],
    "a superlative alone is the first of its rank": [
        (DIFFERENT, "largest", "second largest"),
        (DIFFERENT, "tallest", "second tallest"),
        (DIFFERENT, "best", "second best"),
        (DIFFERENT, "oldest", "second oldest"),
        (DIFFERENT, "most common", "second most common"),
        (DIFFERENT, "second largest", "third largest"),
        (DIFFERENT, "second largest city", "largest city"),
        (DIFFERENT, "the largest city", "the second-largest city"),
        (SAME, "the largest", "largest"),
        (SAME, "second largest", "2nd largest"),
        (SAME, "the best man", "the man"),
        (SAME, "5 honest men", "honest men"),
        (SAME, "Mount Everest", "Everest"),
        (SAME, "In 1945 most people died", "most people died"),
    ],
    "the first and the last": [
        (DIFFERENT, "the first one", "the last one"),
        (DIFFERENT, "the first", "the last"),
        (DIFFERENT, "the first chapter of the book", "the last chapter of the book"),
        (SAME, "the first one", "first"),
        (SAME, "the last one", "last"),
    ],
    "opposing prefixes with a hyphen": [
        (DIFFERENT, "clockwise", "counter-clockwise"),
        (DIFFERENT, "clockwise", "anti-clockwise"),
        (DIFFERENT, "safe", "un-safe"),
        (DIFFERENT, "oxygenated blood", "de-oxygenated blood"),
        (DIFFERENT, "inflammatory", "anti-inflammatory"),
        (DIFFERENT, "intra-state", "inter-state commerce"),
        (DIFFERENT, "intra-state commerce", "inter-state commerce"),
        (DIFFERENT, "annually", "semi-annually"),
        (DIFFERENT, "his wife", "his ex-wife"),
        (DIFFERENT, "the Federalists", "the Anti-Federalists"),
        (SAME, "un-safe", "unsafe"),
        (SAME, "anti-inflammatory drugs", "antiinflammatory drugs"),
        (SAME, "Charles de Gaulle", "de Gaulle"),
        (SAME, "X-ray", "X ray"),
    ],
    "pronouns of two answers with equal words": [
        (DIFFERENT, "his mother", "her mother"),
        (DIFFERENT, "He did it", "She did it"),
        (DIFFERENT, "I am liable", "you are liable"),
        (DIFFERENT, "my car", "your car"),
        (DIFFERENT, "We won", "They won"),
        (DIFFERENT, "this box", "that box"),
        (DIFFERENT, "these boxes", "those boxes"),
        (SAME, "his book", "the book"),
        (SAME, "She did it", "she did it herself"),
        (SAME, "that the box is red", "this is the red box"),
    ],
}


@pytest.mark.parametrize(
    ("same", "left", "right"), [pair for pairs in (*ATTACKED.values(), *FRESH.values()) for pair in pairs]
)
def test_pairs_of_an_attack_are_judged_in_both_directions(same, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]


WITH_QUESTION = [
    (DIFFERENT, "Who won between Brazil and Germany?", "Brazil won the match", "Germany won the match"),
    (
        DIFFERENT,
        "The trophy does not fit in the suitcase because it is too big. What is too big?",
        "the trophy is too big",
        "the suitcase is too big",
    ),
    (DIFFERENT, "Is A heavier than B?", "A is heavier", "B is heavier"),
    (DIFFERENT, "Choose the odd one out: apple, pear, carrot", "The odd one out is apple", "The odd one out is carrot"),
    (SAME, "Who won between Brazil and Germany?", "Brazil", "Brazil won the match"),
    (SAME, "Who won the 1997 Booker prize?", "Arundhati Roy won the prize", "The Booker was won by Arundhati Roy"),
    (SAME, "Did Germany beat Brazil?", "Yes, Germany did", "Yes, Germany beat Brazil"),
]


@pytest.mark.parametrize(("same", "question", "left", "right"), WITH_QUESTION)
def test_the_question_does_not_swallow_the_difference(same, question, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(question, left, right), Pair(question, right, left)])] == [same, same]


@pytest.mark.timeout(60)  # milliseconds each; trying every division of the white space takes minutes
@pytest.mark.parametrize("space", [" ", "\t", "\u00a0"])
@pytest.mark.parametrize(
    "around", [("5", "5"), ("july", "5"), ("quarter", "past 5"), ("5", "- 6 million"), ("1.", "x")]
)
def test_a_run_of_white_space_is_read_once(space, around):
    text = (space * 20_000).join(around)
    assert load_equivalence("text").judge([Pair(text, text, text + "_")])


@pytest.mark.timeout(60)
def test_a_list_of_thousands_of_items_is_compared_as_words():
    left, right = (", ".join(f"{name}{i}" for i in range(5000)) for name in ("a", "b"))
    assert not load_equivalence("text").judge([Pair(None, left, right)])[0].same
