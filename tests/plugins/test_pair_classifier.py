"""Classifiers that are no encoders: padding on the left, or no padding at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from semantic_entropy_plugins.models import load_model
from semantic_entropy_plugins.pair_classifier import PairClassifier
from tests.plugins.tiny_models import SIZE, tiny_causal_lm

PAIRS = [
    ("Paris", "Rome"),
    ("it is Paris in France", "Paris"),
    ("The quick brown fox", "it is Oslo"),
    ("4", "42 42 42"),
]


def decoder(path: Path, *, padded: bool, side: str) -> Path:
    """A Qwen2 with a classifier on its last token, as larger NLI models have it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal_lm(path))
    tokenizer.pad_token, tokenizer.padding_side = ("<|pad|>" if padded else None), side
    config = transformers.Qwen2Config(
        **SIZE, vocab_size=len(tokenizer), num_key_value_heads=2, num_labels=3, pad_token_id=tokenizer.pad_token_id
    )
    torch.manual_seed(0)
    transformers.Qwen2ForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize(("padded", "side", "calls"), [(True, "left", 1), (True, "right", 1), (False, "right", 4)])
def test_a_decoder_gives_in_batches_what_it_gives_one_at_a_time(tmp_path, padded, side, calls):
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


def test_pairs_beyond_one_portion_keep_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr("semantic_entropy_plugins.pair_classifier.AT_A_TIME", 3)
    folder = decoder(tmp_path / "model", padded=True, side="left")
    classifier = PairClassifier(load_model("AutoModelForSequenceClassification", str(folder)))
    in_portions = dict(classifier.run(PAIRS * 2))
    for index, pair in enumerate(PAIRS * 2):
        ((_, alone),) = classifier.run([pair])
        assert in_portions[index] == pytest.approx(alone, abs=1e-5)
