"""Which library finds the sentences of a response: right texts and seconds, as a markdown table.

    pip install sentencex pysbd syntok
    python benchmarks/sentence_splitters.py

A text is right if its parts are the sentences that are listed. The texts are ours: one for each difficulty (numbers,
abbreviations, lists, quotes, addresses, mathematics) and for ten languages other than English. In the second column the
language is unknown, so that the rules for English are used. A library that is not installed is left out.
"""

# ruff: noqa: RUF001  # the texts have the sentence ends of their scripts

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.metadata import version

Splitter = Callable[[str, str], list[str]]
TEXTS = (  # language, sentences with "|" between them
    ("en", "The value is 3.5 on average. |It rose from 2.1 to 4.7 in v. 1.2.3. |Is that so? |Yes!"),
    ("en", "Dr. Smith met Mr. J. R. Brown at 5 p.m. in the U.S. capital. |They met, e.g., No. 5 vs. No. 6. |He left."),
    ("en", "Steps:|\n1. Mix the flour.|\n2. Bake it.|\n\nThen eat"),
    ("en", 'She said "It is late. Go home." |Then she left.'),
    ("en", "Well... I think so. |Really?!"),
    ("en", "The answer is .5. |Next we compute 7."),
    ("en", "See https://example.com/a.b?c=d. |It is good."),
    ("en", "Miller et al. (2020) show this in Fig. 3. |The result holds."),
    ("en", "First sentence.|Second sentence."),
    ("en", r"We have $x = 3.5$. |So $f(x) = 2$. |Hence the answer is $\boxed{7}$."),
    ("de", "Das kostet 3,5 Mio. Euro. |Am 3. Oktober war Dr. Meier z. B. in Bonn. |Gut."),
    ("fr", "M. Dupont est né le 1er janv. 1950. |Il vit à Paris. |C'est tout !"),
    ("ja", "東京は日本の首都です。|人口は約1400万人です。|「そうです。」と彼は言った。"),
    ("zh", "北京是中国的首都。|人口约2189万！|真的吗？|是的。"),
    ("ar", "القاهرة هي عاصمة مصر. |يبلغ عدد سكانها 10 ملايين. |هل هذا صحيح؟ |نعم."),
    ("hi", "दिल्ली भारत की राजधानी है। |यह बहुत बड़ी है।"),
    ("ru", "Москва — столица России. |В 2020 г. там жило 12,6 млн. человек. |Да."),
    ("ko", "서울은 한국의 수도입니다. |인구는 약 940만 명입니다."),
    ("es", "El Sr. García llegó a las 3 p. m. |¿Es cierto? |Sí."),
    ("it", "Il dott. Rossi abita a Roma. |Ha pagato 3,5 euro."),
)
LONG = "The value is 3.5 on average. Dr. Smith left. It rose. " * 200


def main() -> int:
    """Print the table."""
    print("| | right, language known | right, language unknown | seconds |\n|---|---:|---:|---:|")
    for name, load in (("sentencex", sentencex), ("pysbd", pysbd), ("syntok", syntok)):
        try:
            split = load()
        except ImportError:
            print(f"| {name} is not installed | | | |")
            continue
        known = sum(is_right(split, language, text) for language, text in TEXTS)
        unknown = sum(is_right(split, "en", text) for _, text in TEXTS)
        start = time.process_time()
        split("en", LONG)
        seconds = time.process_time() - start
        print(f"| {name} {version(name)} | {known} of {len(TEXTS)} | {unknown} of {len(TEXTS)} | {seconds:.4f} |")
    print(f"\nseconds: processor time for one English text of {len(LONG)} characters")
    return 0


def is_right(split: Splitter, language: str, text: str) -> bool:
    """Whether the library finds the sentences of the text, apart from white space at their ends."""
    try:
        found = [part.strip() for part in split(language, text.replace("|", ""))]
    except ValueError:  # pysbd: no rules for this language
        return False
    return [part for part in found if part] == [part.strip() for part in text.split("|")]


def sentencex() -> Splitter:
    """Rules of about 300 languages."""
    from sentencex import segment

    return lambda language, text: list(segment(language, text))


def pysbd() -> Splitter:
    """Rules of 22 languages."""
    from pysbd import Segmenter

    return lambda language, text: Segmenter(language=language, clean=False).segment(text)


def syntok() -> Splitter:
    """English, German and Spanish, without a choice of the language."""
    from syntok import segmenter

    def split(_language: str, text: str) -> list[str]:
        return [
            "".join(token.spacing + token.value for token in sentence)
            for paragraph in segmenter.analyze(text)
            for sentence in paragraph
        ]

    return split


if __name__ == "__main__":
    sys.exit(main())
