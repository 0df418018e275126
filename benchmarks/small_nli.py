"""A small NLI model and real answers, for benchmarks of the speed of a judge.

The model is a DeBERTa like microsoft/deberta-large-mnli, but smaller and with random weights. The bias of its label
entailment is set so that half of the directions between answers to one question entail. So both verdicts occur, and
there are clusters of several answers.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from semantic_entropy import Pair
from tests.shared_data import SHARED, rows

Groups = list[tuple[str, list[str]]]
LABELS = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")


def all_pairs(groups: Groups) -> list[Pair]:
    """All pairs of distinct answers to the same question."""
    return [
        Pair(question, *pair)
        for question, responses in groups
        for pair in itertools.combinations(dict.fromkeys(responses), 2)
    ]


def in_full(pair: Pair) -> tuple[str, str]:
    """Both texts as the judge passes them to the model."""
    return f"{pair.question} {pair.left}", f"{pair.question} {pair.right}"


def load_groups(count: int, size: int) -> Groups:
    """Questions and their responses: real ones if the data exists, else generated ones."""
    if not (SHARED / "data" / "samples.jsonl").exists():
        print("the folder ../shared/data is missing: the answers are generated\n")
        return [generated(number, size) for number in range(count)]
    real = [row for row in rows("samples.jsonl") if row["source"] == "uqnlg_triviaqa"]
    many = itertools.cycle(row for row in real if len(row["responses"]) >= min(size, 20))
    draw = random.Random(0)
    return [
        (row["question"], row["responses"][:size] if size <= 20 else draw.choices(row["responses"], k=size))
        for row in itertools.islice(many, count)
    ]


def generated(number: int, size: int) -> tuple[str, list[str]]:
    """A question with four answers in several wordings."""
    draw = random.Random(number)
    names = [f"{draw.choice(FIRST)} {draw.choice(LAST)}" for _ in range(4)]
    answers = [draw.choice(WORDINGS).format(draw.choice(names)) for _ in range(size)]
    return f"Who wrote the {number}th chapter of the second book in this series?", answers


FIRST, LAST = ("Anna", "Boris", "Clara", "David"), ("Ek", "Lind", "Moreau", "Okafor")
WORDINGS = ("{}", "It was {}", "{} did", "That chapter is by {}")


def make_model(folder: Path, groups: Groups, hidden: int, layers: int) -> str:
    """Make a DeBERTa with random weights, and a tokenizer trained on these texts; half of the directions entail."""
    texts = [text for pair in all_pairs(groups) for text in in_full(pair)]
    tokenizer = make_tokenizer(texts)
    torch.manual_seed(0)
    config = transformers.DebertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_attention_heads=hidden // 64,
        num_hidden_layers=layers,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
        type_vocab_size=0,
        initializer_range=0.1,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = transformers.DebertaForSequenceClassification(config).eval()
    some = all_pairs(groups)[:: max(1, len(all_pairs(groups)) // 128)]
    inputs = tokenizer(*map(list, zip(*map(in_full, some), strict=True)), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
        model.classifier.bias[2] -= (logits[:, 2] - logits[:, :2].amax(dim=1)).median()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_tokenizer(texts: list[str]) -> Any:
    """Train a byte-level BPE tokenizer, like DeBERTa's."""
    specials = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, tokenizers.trainers.BpeTrainer(vocab_size=8000, special_tokens=list(specials), initial_alphabet=alphabet)
    )
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        **{f"{name.lower()[1:-1]}_token": name for name in specials},
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
