"""The letter of a multiple-choice answer. The source of a kind of input is a public report; the texts are ours."""

from __future__ import annotations

import pytest

from semantic_entropy.clusters.answers import load_extractor

TABLE = [
    # jundot/omlx#3668: a later discussion does not overwrite the stated letter
    ("Answer: C\n\nExplanation: Option A is too weak, and option D is vague.", "C"),
    ("The answer is B, since option A fails.", "B"),
    ("The best answer is D; A, B and C are wrong", "D"),
    ("Answer: A. Because B is false", "A"),
    ("The answer is not A. The answer is B", "B"),
    ("The answer is A. No, wait. The answer is B.", "B"),
    ("(A) is wrong, so (B)", "B"),
    # EleutherAI/lm-evaluation-harness#4188, TIGER-AI-Lab/MMLU-Pro#7, groq/openbench#348
    ("answer: c", "C"),
    ("b. 4", "B"),
    ("(b).", "B"),
    ("d", "D"),
    ("I choose A", "A"),
    ("I would go with option (C).", "C"),
    ("Answer seems to be A.", "A"),
    ("A is the answer", "A"),
    ("B is correct", "B"),
    ("Therefore, A.", "A"),
    ("The answer is: a", "A"),
    ("The correct answer to the question is C.", "C"),
    ("**Answer: B**", "B"),
    ("The answer is $B$.", "B"),
    ("Answer: (A) 5", "A"),
    ("The answer is a dog", None),
    ("A perfect answer cannot be found.", None),
    ("Answer: Let's think step by step.", None),
    # two letters are no letter
    ("The answer is A and C", None),
    ("Answer: B or C", None),
    ("A, C", None),
    ("Both A and C are correct.", None),
    ("The answer could be A, B, or C", None),
    ("A) foo\nB) bar", None),
    ("(A) and (C)", None),
    ("A; D", None),
    ("A-C", None),
    ("A > B", None),
    ("neither A nor B", None),
    ("Neither A nor B is right.", None),
    ("option A is not correct; C", "C"),
    # a letter in a name is no choice
    ("Hepatitis B", None),
    ("Vitamin C", None),
    ("It is vitamin C.", None),
    ("Definitely B", "B"),
    ("I'd say A", "A"),
    ("I think it is C.", "C"),
    ("B\u9009\u9879", "B"),
    ("A\u662f\u6b63\u786e\u7684", "A"),
    ("\u6211\u8ba4\u4e3a\u662fB", "B"),
    ("B\u9009\u9879\u662f\u9519\u7684", None),
    # modelscope/evalscope#1751
    ("\u7b54\u6848\uff1aB", "B"),
    ("\u7b54\u6848\u662fB", "B"),
    ("\u6545\u9009B", "B"),
    ("\u6b63\u786e\u7b54\u6848\u662f\uff1aC", "C"),
    ("\u7b54\u6848\uff1aA\u3001C", None),
    ("\u7b54\u3048\u306fB\u3067\u3059", "B"),
    ("\uc815\ub2f5\uc740 C", "C"),
    ("La respuesta correcta es B.", "B"),
    ("R\u00e9ponse : C", "C"),
    ("Antwort: D", "D"),
]


@pytest.mark.parametrize(("response", "letter"), TABLE, ids=lambda value: ascii(value)[:40])
def test_the_stated_letter_is_found(response, letter):
    assert load_extractor("choice")(response) == letter
