import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.long_answers import unsaid_orders, unsaid_words

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


PAYS = ["Bob pays Alice on Monday.", "On Monday, Alice gets money.", "Use the red key, not the blue one."]


@pytest.mark.parametrize(
    ("sentence", "orders"),
    [
        ("Bob pays Alice.", []),
        ("Alice pays Bob.", [("alice", "pays"), ("pays", "bob"), ("alice", "bob")]),
        ("Monday pays Bob.", [("monday", "pays"), ("pays", "bob"), ("monday", "bob")]),
        ("Bob and Alice", []),  # `and` states nothing
        ("Alice, Bob", [("alice", "bob")]),
        ("On Monday Alice gets money.", []),
        ("Alice on Monday", []),  # both orders are said
        ("Use the blue key, not the red one.", [("blue", "key"), ("not", "red"), ("blue", "not"), ("key", "red")]),
        ("Bob uses the red money.", []),  # no sentence has both words of a pair, and `uses` is a new word
        ("pays pays Bob", [("pays", "bob")]),
        ("", []),
    ],
)
def test_an_order_is_unsaid_if_all_sentences_with_both_words_have_the_other_one(sentence, orders):
    assert unsaid_orders([sentence], PAYS) == tuple(orders)


def test_an_order_is_of_one_sentence_and_is_said_by_one_sample_or_the_question():
    assert unsaid_orders(["Alice.", "Bob."], PAYS) == ()
    assert unsaid_orders(["Alice pays Bob."], [*PAYS, "Does Alice pay Bob, or who pays? Alice pays Bob."]) == ()
    assert unsaid_orders(["b a"], ["a b", "a x b a"]) == ()  # a word that a sentence has twice


@given(st.lists(st.text("abc ", max_size=12), max_size=4))
def test_sentences_say_their_own_orders(sentences):
    assert unsaid_orders(sentences, sentences) == ()
    assert unsaid_orders(sentences, []) == ()


def test_the_orders_of_long_sentences_are_found():
    words = ["".join(letters) for letters in itertools.product("bcdefghjklmnpqrvxz", repeat=3)]
    assert len(unsaid_orders([" ".join(reversed(words))], [" ".join(words)])) == 2 * len(words) - 3
