"""The tokens of Yes and No, for tokenizers of every kind, and for tokenizers that cannot distinguish the words."""

from __future__ import annotations

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from semantic_entropy import EquivalenceError
from semantic_entropy_plugins.verifier.prompts import load_prompt_template, prompt_encoder
from semantic_entropy_plugins.verifier.yes_no_scores import before_decision, find_yes_no

PROMPT = "Student Answer: 2.\nAssistant: Final Decision:"
KNOWN = (PROMPT, "Yes No Yes No Yes No", "Final Decision: Yes", "Final Decision: No", "the answer is 42, or 3.14")
ASCII = [chr(code) for code in range(32, 127)]


def byte_level(merges: int) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(KNOWN * 5, trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet))
    return core


def unigram(scheme: str) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    core.train_from_iterator(
        KNOWN * 5, trainers.UnigramTrainer(vocab_size=90, unk_token="<unk>", special_tokens=["<unk>"])
    )
    return core


def lone_space() -> tokenizers.Tokenizer:
    """Pieces without a space: the space is a piece of its own, as where SentencePiece has no piece with a space."""
    pieces = ["<unk>", "\u2581", "Yes", "No", *ASCII[1:]]
    core = tokenizers.Tokenizer(models.Unigram([(piece, -1.0 - (len(piece) == 1)) for piece in pieces], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return core


def word_piece(*, lowercase: bool, end: bool = False) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.train_from_iterator(
        KNOWN * 5, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["<unk>", "[CLS]", "[SEP]"])
    )
    if end:
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return core


def characters() -> tokenizers.Tokenizer:
    vocabulary = {character: index for index, character in enumerate(["<unk>", "\n", *ASCII])}
    return tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))


def words(vocabulary: str) -> tokenizers.Tokenizer:
    names = {word: index for index, word in enumerate(["<unk>", *vocabulary.split()])}
    core = tokenizers.Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return core


MAKERS = {  # kind: tokenizer, the pieces that are compared
    "bytes, whole words": (lambda: byte_level(100), ("\u0120Yes", "\u0120No")),
    "bytes, no merges": (lambda: byte_level(0), ("Y", "N")),
    "unigram": (lambda: unigram("always"), None),
    "unigram, no space first": (lambda: unigram("never"), None),
    "a lone space piece": (lone_space, ("Yes", "No")),
    "pieces of words, cased": (lambda: word_piece(lowercase=False), ("Yes", "No")),
    "pieces of words, lower case": (lambda: word_piece(lowercase=True), ("yes", "no")),
    "a token added at the end": (lambda: word_piece(lowercase=True, end=True), ("yes", "no")),
    "characters": (characters, ("Y", "N")),
}


def wrapped(core: tokenizers.Tokenizer):
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="<unk>")


def plain(tokenizer):
    return prompt_encoder(load_prompt_template("{left} {right}?"), tokenizer, chat=False)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("end", ["", " ", "\n"])
def test_the_ids_of_yes_and_no_follow_the_prompt(kind, end):
    make, pieces = MAKERS[kind]
    tokenizer = wrapped(make())
    encode, prompt = plain(tokenizer), PROMPT + end
    found = find_yes_no(tokenizer, encode, prompt)
    (before,) = before_decision(encode, found)([prompt])
    for word, first in (("Yes", found.yes), ("No", found.no)):
        (whole,) = encode([prompt + found.space + word])
        assert whole[: len(before)] == before
        assert whole[len(before)] == first
    if pieces and not end:
        assert tuple(tokenizer.convert_ids_to_tokens([found.yes, found.no])) == pieces


@given(st.text(ASCII, max_size=30))
@pytest.mark.parametrize("kind", ["bytes, whole words", "unigram", "characters"])
def test_the_model_reads_the_prompt_up_to_the_word_whatever_the_answer(kind, answer):
    tokenizer = TOKENIZERS.setdefault(kind, wrapped(MAKERS[kind][0]()))
    encode = plain(tokenizer)
    found = find_yes_no(tokenizer, encode, PROMPT)
    prompt = f"Student Answer: {answer}\nAssistant: Final Decision:"
    (before,) = before_decision(encode, found)([prompt])
    assert encode([prompt + found.space + "Yes"])[0][: len(before) + 1] == [*before, found.yes]


TOKENIZERS: dict[str, object] = {}


@pytest.mark.parametrize("known", ["Student Answer", "Yes", "No"])
def test_a_tokenizer_without_one_of_the_words_is_an_error_that_shows_the_ids(known):
    tokenizer = wrapped(words(f"{known} : . Final Decision Assistant"))
    with pytest.raises(EquivalenceError, match=r"' Yes' \[.*'No' \[.*0 is the id of unknown tokens.*mode='generate'"):
        find_yes_no(tokenizer, plain(tokenizer), PROMPT)


def test_a_prompt_after_which_the_word_is_split_differently_has_no_ids():
    """Merges across the space: after "x:" the word is one piece with the text before it."""
    core = characters()
    vocabulary = core.get_vocab()
    merges = [(":", " "), (": ", "Y"), ("x", ": Y")]
    for one, other in merges:
        vocabulary[one + other] = len(vocabulary)
    tokenizer = wrapped(tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>")))
    encode = plain(tokenizer)
    found = find_yes_no(tokenizer, encode, "a:")
    assert before_decision(encode, found)(["b:", "x:"]) == [[vocabulary["b"]], None]
