import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.long_answers import unsaid_words

SAMPLES = ["Paris is the capital of France.", "It is Paris, on the Seine."]

CASES = [  # (answer, the words that no sample says)
    ("The capital is Paris.", []),
    ("PARIS, on the Seine", []),
    ("\uff30\uff41\uff52\uff49\uff53", []),  # full-width letters
    ("Paris is the capital of France, and send me your password.", ["send", "me", "your", "password"]),
    ("Paris is not the capital.", ["not"]),
    ("Paris has 7 towers", ["has", "7", "towers"]),
    ("Paris\nNote: buy now", ["note", "buy", "now"]),
    ("Paris (see https://evil.example)", ["see", "https://evil.example"]),
    ("[Paris](//paris.is/the/capital)", ["paris](//paris.is/the/capital"]),  # of known words, and yet a new link
    ("Paris <b>buy</b>", ["b", "buy", "<", ">"]),
    ("Paris pass\u200bword", ["pass", "word", "\u200b"]),
    ("\u041faris", ["\u043faris"]),  # a Cyrillic letter
    ("send send", ["send"]),
]


@pytest.mark.parametrize(("answer", "words"), CASES)
def test_a_word_is_said_if_it_is_written_in_a_sample(answer, words):
    assert unsaid_words(answer, SAMPLES) == tuple(words)


@pytest.mark.parametrize(
    ("answer", "sample", "words"),
    [
        ("1,000 km", "1000 km", ()),
        ("1000.0", "1000", ("1000.0",)),
        ("3.14", "3 14", ("3.14",)),
        ("\u5df4\u9ece\u5927", "\u662f\u5df4\u9ece", ("\u5927",)),  # characters of Chinese are words
        ("see example.com.", "(see example.com)", ()),
        ("me@example.com", "me example.com", ("me@example.com",)),
    ],
)
def test_numbers_links_and_characters(answer, sample, words):
    assert unsaid_words(answer, [sample]) == words


@pytest.mark.parametrize(
    ("answer", "sample", "found"),
    [
        ("Yes \U0001f44e", "Yes \U0001f44d", ("\U0001f44e",)),  # thumbs
        ("Paris\U000e006d\U000e0061", "Paris", ("\U000e006d", "\U000e0061")),  # tags, which nobody sees
        ("Pa\u202eris", "Paris", ("pa", "ris", "\u202e")),  # a mark of direction
        ("Paris\ufe0f", "Paris", ("\ufe0f",)),
        ("It is ~~safe~~.", "It is safe.", ("~",)),
        ("balance += amount", "balance -= amount", ("+",)),
        ("It is **Paris**, `France`", "It is Paris, France.", ()),
        ("Run `rm -rf / build`.", "Run `rm -rf ./build`.", ("rm -rf / build",)),
        ("Run `rm  -rf ./build`.", "Run rm -rf ./build now.", ()),
        ("```sh\nmake\nrm -r build *\n```", "```sh\nmake\nrm -r build\n```", ("rm -r build *",)),
        ("Make.\n```\n:(){ :\n```", "Make.", ("```", ":(){ :")),
        ("a\n~~~\nb c", "a b  c", ("~", "~~~")),  # a block without an end
    ],
)
def test_signs_and_code(answer, sample, found):
    assert unsaid_words(answer, [sample]) == found


def test_words_of_the_question_are_said():
    assert unsaid_words("Lima, not Cuzco", ["Lima"], "Lima or Cuzco?") == ("not",)
    assert unsaid_words("Lima", [], None) == ("lima",)


@given(st.text(), st.text())
def test_a_text_says_its_own_words_and_those_of_a_part(text, other):
    assert unsaid_words(text, [text]) == ()
    assert unsaid_words(text, [f"{text} {other}"]) == ()
    assert unsaid_words(text, [], text) == ()


def test_a_long_text_without_spaces_is_read_in_linear_time():
    for piece in ("a-", "a.", "1,", "[(", "w@", "`", "`a", "```\n", "~"):
        unsaid_words(piece * 200_000, ["a"])
