"""Decoders as classifiers: padding on the left, or without padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from semantic_entropy_plugins.models.loading import load_model
from semantic_entropy_plugins.nli.pair_classifier import PairClassifier
from tests.plugins.tiny_models import SIZE, tiny_causal_lm

PAIRS = [
    ("Paris", "Rome"),
    ("it is Paris in France", "Paris"),
    ("The quick brown fox", "it is Oslo"),
    ("4", "42 42 42"),
]


def decoder(path: Path, *, padded: bool, side: str, pad: int | str | None = "tokenizer's") -> Path:
    """A Qwen2 with a classifier on its last token, as in larger NLI models; `pad`: the id in its configuration."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(path))
    tokenizer.pad_token, tokenizer.padding_side = ("<|pad|>" if padded else None), side
    pad = tokenizer.pad_token_id if pad == "tokenizer's" else pad
    config = transformers.Qwen2Config(
        **SIZE, vocab_size=len(tokenizer), num_key_value_heads=2, num_labels=3, pad_token_id=pad
    )
    torch.manual_seed(0)
    transformers.Qwen2ForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize(("padded", "side", "calls"), [(True, "left", 1), (True, "right", 1), (False, "right", 4)])
def test_a_decoder_gives_the_same_probabilities_in_batches_and_one_by_one(tmp_path, padded, side, calls):
    folder = decoder(tmp_path / "model", padded=padded, side=side)
    classifier = PairClassifier(load_model("AutoModelForSequenceClassification", str(folder)))
    found = dict(classifier.run(PAIRS))
    assert classifier.forward_calls == calls
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for index, (first, second) in enumerate(PAIRS):
        with torch.no_grad():
            logits = model(**tokenizer([first], [second], return_tensors="pt")).logits[0]
        assert found[index] == pytest.approx(logits.softmax(-1).tolist(), abs=1e-5)


@pytest.mark.parametrize("pad", [2, None])
def test_the_padding_id_of_the_tokenizer_replaces_that_of_the_configuration(tmp_path, pad):
    folder = str(decoder(tmp_path / "model", padded=True, side="right", pad=pad))
    untouched = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    classifier = PairClassifier(load_model("AutoModelForSequenceClassification", folder))
    found = dict(classifier.run(PAIRS))
    assert classifier.forward_calls == 1
    for index, (first, second) in enumerate(PAIRS):
        with torch.no_grad():
            logits = untouched(**tokenizer([first], [second], return_tensors="pt")).logits[0]
        assert found[index] == pytest.approx(logits.softmax(-1).tolist(), abs=1e-5)


@pytest.mark.parametrize(("deaf", "said"), [(True, "probabilities differ by"), (False, "IndexError: no batches here")])
def test_a_model_that_fails_with_padded_batches_runs_row_by_row_with_a_warning(tmp_path, deaf, said):
    loaded = load_model("AutoModelForSequenceClassification", str(decoder(tmp_path / "m", padded=True, side="left")))
    forward = loaded.model.forward

    def particular(input_ids, attention_mask, **inputs):
        if deaf:
            return forward(input_ids=input_ids, **inputs)  # the model reads padding on the left as text
        if len(input_ids) > 1:
            raise IndexError("no batches here")
        return forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)

    loaded.model.forward = particular
    with pytest.warns(RuntimeWarning, match=f"runs row by row, because a padded batch fails .{said}"):
        classifier = PairClassifier(loaded)
    expected = [alone for pair in PAIRS for _, alone in classifier.run([pair])]
    calls = classifier.forward_calls
    assert [probabilities for _, probabilities in sorted(classifier.run(PAIRS))] == expected
    assert classifier.forward_calls == calls + len(PAIRS)


def test_pairs_that_are_tokenised_in_parts_keep_their_index(tmp_path, monkeypatch):
    monkeypatch.setattr("semantic_entropy_plugins.nli.pair_classifier.TOKENISED_AT_ONCE", 3)
    folder = decoder(tmp_path / "model", padded=True, side="left")
    classifier = PairClassifier(load_model("AutoModelForSequenceClassification", str(folder)))
    in_portions = dict(classifier.run(PAIRS * 2))
    for index, pair in enumerate(PAIRS * 2):
        ((_, alone),) = classifier.run([pair])
        assert in_portions[index] == pytest.approx(alone, abs=1e-5)


def test_inference_mode_is_on_in_the_model_and_off_where_results_are_yielded(tmp_path):
    loaded = load_model("AutoModelForSequenceClassification", str(decoder(tmp_path / "m", padded=True, side="left")))
    modes = []
    loaded.model.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    classifier = PairClassifier(loaded)
    for _ in classifier.run(PAIRS):
        assert not torch.is_inference_mode_enabled()
    assert set(modes) == {True}
