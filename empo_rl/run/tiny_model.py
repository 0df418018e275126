"""The demo's base model, made on the spot: a word-level tokenizer, a Qwen2 of about 100,000 weights, and its
pre-training.

Pre-training is plain next-token cross-entropy on the answer alone: AdamW (.9, .95; decay .01), 20 warm-up
steps, then linear decay to a tenth, gradient norm clipped at 1. It knows nothing of EMPO. Leaves out
everything a real pre-training run needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from empo_rl.data.arithmetic import ArithmeticQuestion, pretraining_answer

PRETRAIN_STEPS = 550
BATCH, PEAK_RATE, WARMUP, FLOOR = 128, 6e-3, 20, 0.1
CONTEXT = 128
_IGNORED = -100  # torch's cross_entropy leaves this label out

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_END_OF_TEXT, _END_OF_TURN, _UNKNOWN = "<|endoftext|>", "<|im_end|>", "<|unk|>"
_SPECIAL = [_END_OF_TEXT, "<|im_start|>", _END_OF_TURN, _UNKNOWN]
_WORDS = [*"0123456789", *"()+*=?}", "\\boxed{", "What", "is", "user", "assistant", "system", " ", "\n"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each digit, sign and word of the task; ChatML around them."""
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
    """Random weights: 2 layers of width 64."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,  # the usual .02 leaves so narrow a model at the uniform distribution for long
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config)


def prompt_text(question: ArithmeticQuestion) -> str:
    """What the chat template makes of the question, ready for the answer."""
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
    """Train in place; texts are drawn anew for every batch."""
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


def save_whole(model: Any, tokenizer: Any, folder: Path) -> None:
    """In one move: a kill leaves a whole model or none."""
    unfinished = folder.with_name(f"{folder.name}.tmp")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 1 - (1 - FLOOR) * (step - WARMUP) / max(1, steps - WARMUP)


def _accumulate(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[ArithmeticQuestion, str]]
) -> float:
    """Add the gradient of the batch's mean loss per token, and return that loss.

    Chains are five times as long as direct answers: each kind goes through the model by itself, which saves a
    third of the time.
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
    """Ids and labels, each (batch, longest), padded on the right, where a causal model needs no mask.

    The prompt and the padding carry no label.
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
