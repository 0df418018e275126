"""Create and pre-train the tiny base model of the demo and of `model: demo`.

The model is a Qwen2 with about 100,000 weights and a word-level tokenizer.

Pre-training minimises the cross-entropy of the next token, on the answers only: AdamW (betas .9 and .95, weight decay
.01), 20 warm-up steps, linear decay to a tenth of the peak rate, gradient norm clipped at 1. It does not use EMPO.
This module leaves out everything else that a real pre-training run needs.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from empo_rl.data.arithmetic import ArithmeticQuestion, pretraining_answer, split

PRETRAIN_STEPS = 550
BATCH, PEAK_RATE, WARMUP, FLOOR = 128, 6e-3, 20, 0.1
CONTEXT = 128
SECONDS_FILE = "pretraining.json"  # a file in the folder of the base model, with the seconds of pre-training
_SECONDS_FILE_0_1 = "seconds.json"  # the file of version 0.1.0, in the output directory
_IGNORED = -100  # torch's cross_entropy ignores this label

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_END_OF_TEXT, _END_OF_TURN, _UNKNOWN = "<|endoftext|>", "<|im_end|>", "<|unk|>"
_SPECIAL = [_END_OF_TEXT, "<|im_start|>", _END_OF_TURN, _UNKNOWN]
_WORDS = [*"0123456789", *"()+*=?}", "\\boxed{", "What", "is", "user", "assistant", "system", " ", "\n"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with the ChatML template, and one token for each digit, sign and word of the questions."""
    vocabulary = {token: index for index, token in enumerate(_SPECIAL + _WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\boxed\{|[A-Za-z]+|\n|."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=_UNKNOWN,
        pad_token=_END_OF_TEXT,
        eos_token=_END_OF_TURN,
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """A model with random weights: 2 layers of width 64."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,  # with the usual .02, this model predicts a uniform distribution for many steps
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config)


def prompt_text(question: ArithmeticQuestion) -> str:
    """The text of the prompt: the question in the chat template, up to the start of the answer."""
    return f"<|im_start|>user\n{question.text}<|im_end|>\n<|im_start|>assistant\n"


def pretrain(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[ArithmeticQuestion],
    *,
    seed: int,
    steps: int = PRETRAIN_STEPS,
    on_step: Callable[[int, float], None] | None = None,
    text: Callable[[ArithmeticQuestion, random.Random], str] = pretraining_answer,
) -> None:
    """Train the model in place. Each batch contains random questions; `text` makes the answer of each question."""
    dice = random.Random(f"pretrain {seed}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    model.train()
    for step in range(1, steps + 1):
        texts = [(q, text(q, dice)) for q in dice.choices(questions, k=BATCH)]
        loss = _accumulate(model, tokenizer, texts)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if on_step:
            on_step(step, loss)
    model.eval()


def load_or_make(
    tokenizer: PreTrainedTokenizerFast, folder: Path, *, seed: int, steps: int, report: Callable[[int, float], None]
) -> Any:
    """The base model in `folder`. If the folder does not exist, create and pre-train the model, and save it there.

    The folder is written under a temporary name and then renamed, so after a kill it is complete or absent.

    report: a function that is called with (step, loss).
    """
    torch.set_num_threads(1)  # for this small model, one thread is as fast as two threads, and sums in a fixed order
    if folder.exists():
        return AutoModelForCausalLM.from_pretrained(folder)
    began = time.perf_counter()
    model = make_model(tokenizer, seed)
    pretrain(model, tokenizer, split(seed).pretraining, seed=seed, steps=steps, on_step=report)
    temporary = folder.with_name(f"{folder.name}.tmp")
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    seconds = {"seconds": time.perf_counter() - began}
    (temporary / SECONDS_FILE).write_text(json.dumps(seconds), encoding="utf-8")
    temporary.rename(folder)
    model.name_or_path = str(folder)  # adapter_config.json of an adapter then names its base model
    return model


def pretraining_seconds(folder: Path) -> float:
    """The seconds of the pre-training of the model in `folder`. 0 if no file has them."""
    for file, key in ((folder / SECONDS_FILE, "seconds"), (folder.with_name(_SECONDS_FILE_0_1), "pretrain")):
        if file.exists():
            return float(json.loads(file.read_text(encoding="utf-8"))[key])
    return 0.0


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 1 - (1 - FLOOR) * (step - WARMUP) / max(1, steps - WARMUP)


def _accumulate(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[ArithmeticQuestion, str]]
) -> float:
    """Add the gradient of the batch's mean loss per token to the gradients of the model, and return this loss.

    Chains are five times as long as direct answers. The model processes chains and direct answers in separate batches,
    which saves a third of the time.
    """
    chains = [text for text in texts if "\n" in text[1]]
    directs = [text for text in texts if "\n" not in text[1]]
    batches = [_batch(tokenizer, kind) for kind in (chains, directs) if kind]
    tokens = sum(int((labels != _IGNORED).sum()) for _, labels in batches)
    total = 0.0
    for ids, labels in batches:
        share = int((labels != _IGNORED).sum()) / tokens
        loss = model(input_ids=ids, labels=labels).loss * share
        loss.backward()
        total += loss.item()
    return total


def _batch(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[ArithmeticQuestion, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The token ids and the labels, each (batch, longest). Padding is on the right, so a causal model needs no mask.

    The labels of prompt and padding tokens are `_IGNORED`.
    """
    prompts = tokenizer([prompt_text(question) for question, _ in texts], add_special_tokens=False)["input_ids"]
    answers = tokenizer([f"{answer}<|im_end|>" for _, answer in texts], add_special_tokens=False)["input_ids"]
    longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(texts), longest), int(tokenizer.pad_token_id))
    labels = torch.full((len(texts), longest), _IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels
