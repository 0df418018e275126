"""Models with a few thousand weights, created by the tests: real architectures with a real tokenizer.

`tiny_nli` and `tiny_causal_lm` write a checkpoint, as `save_pretrained` does, that any `from_pretrained` loads.
`learn` trains a tiny NLI model on the relations of `MEANINGS`, so that its verdicts vary and are confident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders as token_decoders
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

NLI_LABELS = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")
CONTRADICTION, NEUTRAL, ENTAILMENT = range(3)
QUESTION = "What is the capital?"
MEANINGS = (
    ("Paris", "it is Paris", "Paris in France"),
    ("Rome", "it is Rome", "Rome in Italy"),
    ("Oslo", "it is Oslo"),
)
"""Answers by meaning. The third answer of a meaning says more than the others, so neither of them entails it."""
ANSWERS = tuple(answer for meaning in MEANINGS for answer in meaning)
TEXTS = (
    *(QUESTION, *ANSWERS, "yes no Yes No", "Question: Student Answer: Ground Truth Answer: Final Decision: Yes"),
    *("The quick brown fox jumps over the lazy dog.", "0 1 2 3 4 5 6 7 8 9 42", "user assistant system"),
)
NLI_KINDS = ("bert", "roberta", "deberta", "deberta-v2", "modernbert")
CAUSAL_KINDS = ("qwen2", "llama")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "initializer_range": 0.5,  # large, so that the outputs of random weights differ from text to text
}


def relation(premise: str, hypothesis: str) -> int:
    """The relation that the trained model predicts: the longer answer entails the shorter one, not the reverse."""
    (one,) = [i for i, meaning in enumerate(MEANINGS) if premise in meaning]
    if hypothesis not in MEANINGS[one]:
        return CONTRADICTION
    says_more = MEANINGS[one].index(hypothesis) == 2 and premise != hypothesis
    return NEUTRAL if says_more else ENTAILMENT


def tiny_nli(
    path: Path,
    kind: str = "bert",
    *,
    labels: tuple[str, ...] = NLI_LABELS,
    seed: int = 0,
    taught: bool = False,
    positions: int = 128,
    **config: Any,
) -> Path:
    """Write a sequence classifier of this architecture, with random weights unless `taught`."""
    tokenizer = _nli_tokenizer(kind, positions)
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_config(_nli_config(kind, tokenizer, positions, config))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: index for index, label in enumerate(labels)}
    if taught:
        learn(model, tokenizer)
    return _saved(path, model, tokenizer)


def tiny_causal_lm(path: Path, kind: str = "qwen2", *, chat: bool = True, seed: int = 0, **config: Any) -> Path:
    """Write a causal language model of this architecture with random weights; `chat`: with a chat template."""
    specials = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(specials),
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        chat_template=CHAT if chat else None,
        model_max_length=512,
        padding_side="left",
    )
    torch.manual_seed(seed)
    size = {**SIZE, "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": False} | config
    kinds = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig}
    made = kinds[kind](
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **size,
    )
    return _saved(path, transformers.AutoModelForCausalLM.from_config(made), tokenizer)


def learn(model: Any, tokenizer: Any, *, steps: int = 500, rate: float = 3e-3) -> None:
    """Train a classifier until it predicts `relation` for all ordered pairs of ANSWERS, with and without question."""
    pairs = [
        (f"{prefix}{premise}", f"{prefix}{hypothesis}", relation(premise, hypothesis))
        for prefix in ("", f"{QUESTION} ")
        for premise in ANSWERS
        for hypothesis in ANSWERS
    ]
    encoded = tokenizer([p for p, _, _ in pairs], [h for _, h, _ in pairs], padding=True, return_tensors="pt")
    labels = torch.tensor([label for _, _, label in pairs])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for _ in range(steps):
        logits = model(**encoded).logits
        best = logits.topk(2).values
        if (logits.argmax(-1) == labels).all() and (best[:, 0] - best[:, 1]).min() > 1:  # nat
            break
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
    else:
        raise AssertionError(f"the tiny model did not learn its facts in {steps} steps")
    model.eval()


def _nli_config(kind: str, tokenizer: Any, positions: int, config: dict[str, Any]) -> Any:
    size = SIZE | {"vocab_size": len(tokenizer), "max_position_embeddings": positions, "num_labels": 3}
    size["pad_token_id"] = tokenizer.pad_token_id
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    relative = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
    if kind == "bert":
        return transformers.BertConfig(**size | dropout | config)
    if kind == "roberta":  # positions count from pad_token_id + 1, so the table is larger by this number
        table = {"max_position_embeddings": positions + tokenizer.pad_token_id + 1}
        return transformers.RobertaConfig(**size | dropout | {"type_vocab_size": 1} | table | config)
    if kind == "deberta":
        return transformers.DebertaConfig(**size | dropout | relative | {"type_vocab_size": 0} | config)
    if kind == "deberta-v2":
        buckets = {"position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0}
        return transformers.DebertaV2Config(**size | dropout | relative | buckets | config)
    special = {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    special |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    return transformers.ModernBertConfig(**size | special | {"local_attention": 16} | config)


def _nli_tokenizer(kind: str, positions: int) -> Any:
    if kind == "roberta":
        core, cls, sep, pad = _byte_level(("<s>", "<pad>", "</s>", "<unk>")), "<s>", "</s>", "<pad>"
        core.post_processor = processors.RobertaProcessing(
            (sep, core.token_to_id(sep)), (cls, core.token_to_id(cls)), add_prefix_space=False
        )
    else:
        specials = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
        make = {"bert": _word_piece, "deberta-v2": _unigram}.get(kind, _byte_level)
        core, cls, sep, pad = make(specials), "[CLS]", "[SEP]", "[PAD]"
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(cls, core.token_to_id(cls)), (sep, core.token_to_id(sep))],
        )
    names = ["input_ids", "attention_mask"]
    names[1:1] = ["token_type_ids"] if kind in ("bert", "deberta", "deberta-v2") else []
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        cls_token=cls,
        sep_token=sep,
        pad_token=pad,
        unk_token="<unk>" if kind == "roberta" else "[UNK]",
        model_max_length=positions,
        model_input_names=names,
    )


# The trainers of these two create another vocabulary in each process, so the vocabulary is written here.
def _word_piece(specials: tuple[str, ...]) -> tokenizers.Tokenizer:
    words = _words([text.lower() for text in TEXTS])
    characters = sorted(set("".join(words)))
    pieces = dict.fromkeys([*specials, *words, *characters, *(f"##{one}" for one in characters)])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    core = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    core.add_special_tokens(list(specials))
    return core


def _unigram(specials: tuple[str, ...]) -> tokenizers.Tokenizer:
    words = _words(TEXTS)
    pieces = dict.fromkeys([*specials, *(f"\u2581{word}" for word in words), *sorted({"\u2581", *"".join(words)})])
    scores = [(piece, -float(index) / 10) for index, piece in enumerate(pieces)]
    core = tokenizers.Tokenizer(models.Unigram(scores, unk_id=specials.index("[UNK]")))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), token_decoders.Metaspace()
    core.add_special_tokens(list(specials))
    return core


def _words(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\w+|[^\w\s]", " ".join(texts))))


def _byte_level(specials: tuple[str, ...]) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), token_decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=list(specials), initial_alphabet=alphabet)
    core.train_from_iterator(TEXTS, trainer)
    return core


def _saved(path: Path, model: Any, tokenizer: Any) -> Path:
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
