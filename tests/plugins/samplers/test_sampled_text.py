"""Responses read from tokens; here a token is one character, or a piece of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.clusters.answers import strip_reasoning
from semantic_entropy_plugins.samplers.sampled_text import Response, read_response, token_texts

END = -1


def read_text(text, *, ended=True, **options):
    ids = [ord(char) for char in text] + [END] * ended
    return read_response(lambda ids: "".join(map(chr, ids)), ids, ended=ended, **options)


@pytest.mark.parametrize(
    ("text", "options", "response"),
    [
        ("Paris", {}, Response("Paris", None, "stop", 0, 5)),
        ("Paris", {"ended": False}, Response("Paris", None, "length", 0, 5)),
        (" Paris\n", {}, Response(" Paris\n", None, "stop", 0, 7)),
        ("", {}, Response("", None, "stop", 0, 0)),
        ("Paris. Q: x", {"stops": ("Q:",), "ended": False}, Response("Paris. ", None, "stop", 0, 7)),
        ("ab Q: c\n\n", {"stops": ("\n\n", "Q:")}, Response("ab ", None, "stop", 0, 3)),
        ("Q: c", {"stops": ("Q:",)}, Response("", None, "stop", 0, 0)),
        ("<think>so?</think>\n\nRome", {}, Response("Rome", "so?", "stop", 20, 24)),
        ("\n<THINK>so?</THINK>Rome", {}, Response("Rome", "so?", "stop", 19, 23)),
        ("<think>so", {"ended": False}, Response("", "so", "length", 9, 9)),
        ("<think></think>Rome", {}, Response("Rome", "", "stop", 15, 19)),
        ("so?</think>Rome", {"starts_in_reasoning": True}, Response("Rome", "so?", "stop", 11, 15)),
        ("so?</think>Rome", {}, Response("Rome", "so?", "stop", 11, 15)),  # the opening tag was a special token
        ("so", {"starts_in_reasoning": True, "ended": False}, Response("", "so", "length", 2, 2)),
        ("<think>a</think>Rome</think>", {}, Response("Rome</think>", "a", "stop", 16, 28)),
        ("Rome <think>or</think> not", {}, Response("Rome <think>or</think> not", None, "stop", 0, 26)),
        ("<think>a Q: b</think>Rome Q: c", {"stops": ("Q:",)}, Response("", "a", "stop", 9, 9)),
        ("<think>a</think>Rome Q: c", {"stops": ("Q:",)}, Response("Rome ", "a", "stop", 16, 21)),
    ],
)
def test_the_text_the_reasoning_and_the_tokens_of_the_text(text, options, response):
    assert read_text(text, **options) == response


def test_a_token_that_ends_the_reasoning_and_starts_the_text_belongs_to_the_text():
    pieces = ["<think>", "so?</th", "ink>Ro", "me.", "Q", ":"]
    response = read_response(lambda ids: "".join(pieces[i] for i in ids), list(range(6)), ended=False, stops=["."])
    assert response == Response("Rome", "so?", "stop", 2, 4)


@pytest.mark.parametrize(
    ("response", "tokens", "with_end", "kept"),
    [
        (Response("ab", None, "stop", 0, 2), 3, False, slice(0, 2)),
        (Response("ab", None, "stop", 0, 2), 3, True, slice(0, 3)),
        (Response("ab", None, "length", 0, 2), 2, True, slice(0, 2)),
        (Response("", None, "stop", 0, 0), 1, False, slice(0, 1)),  # only the end token
        (Response("b", "a", "stop", 3, 4), 5, False, slice(3, 4)),
        (Response("", "a", "length", 4, 4), 4, False, slice(4, 4)),
        (Response("a", None, "stop", 0, 1), 4, False, slice(0, 1)),  # before a stop string of two tokens
    ],
)
def test_the_end_token_is_included_if_requested_or_if_it_is_the_only_token(response, tokens, with_end, kept):
    assert response.logprob_slice(tokens, with_end=with_end) == kept


TEXTS = st.lists(st.sampled_from(["<think>", "</think>", "a", "b ", "\n", "Q:", "\u6771"]), max_size=8).map("".join)


@given(TEXTS, st.booleans(), st.booleans())
def test_the_tokens_of_the_text_decode_to_the_text(text, ended, starts_in_reasoning):
    response = read_text(text, ended=ended, starts_in_reasoning=starts_in_reasoning, stops=("Q:",))
    assert text[response.start : response.end] == response.text
    assert "Q:" not in response.text
    assert response.text in text


@given(TEXTS)
def test_strip_reasoning_finds_the_same_answer(text):
    assert strip_reasoning(read_text(text).text).strip() == strip_reasoning(text).strip()


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=8), st.text(max_size=8))
def test_token_texts_write_the_text_one_after_another(pieces, text):
    """Tokens of bytes, as those of byte-level tokenizers; some are parts of characters, or are no characters."""
    for tokens in (pieces, [bytes([byte]) for byte in text.encode()]):

        def decode(ids, tokens=tokens):
            return b"".join(tokens[i] for i in ids).decode(errors="replace")

        texts = token_texts(decode, range(len(tokens)))
        assert len(texts) == len(tokens)
        if tokens is not pieces:
            assert "".join(texts) == text


def test_a_character_belongs_to_its_last_token_and_a_space_to_its_own():
    def decode(ids):  # drops the space at the beginning, as tokenizers of sentencepiece
        return (
            b"".join([b" It", b" costs", b" \xe2", b"\x82", b"\xac", b"5"][i] for i in ids)
            .decode(errors="replace")
            .lstrip()
        )

    assert token_texts(decode, range(6)) == ["It", " costs", "", "", " \u20ac", "5"]
