"""Decisions that a model writes: which texts contain one, and a model that has memorised its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from semantic_entropy_plugins.models.loading import load_model
from semantic_entropy_plugins.verifier.written_decisions import WrittenDecisions, ends_decided, read_decision
from tests.plugins import tiny_models

TEXTS = [  # what a model wrote, its decision
    ("Final Decision: Yes", True),
    ("Final Decision: No", False),
    ("1 + 1 = 2, as the student says.\n\nFinal Decision: Yes.", True),
    ("**Final Decision:** No", False),
    ("final decision:\nyes", True),
    ('Output "Final Decision: Yes" if equal. They are not.\nFinal Decision: No', False),  # the last one counts
    ("Final Decision: $\\boxed{Yes}$", None),  # letters in between: no model was trained on this form
    ("<think>Final Decision: No? Wait.</think>Final Decision: Yes", True),
    ("<think>Final Decision: Yes", None),  # the reasoning does not end
    ("Yes", True),
    (" No.\n", False),
    ("Yes, but the unit is missing.", None),
    ("Final Decision: Yesterday", None),
    ("Final Decision: None", None),
    ("The final decision is hard.", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "same"), TEXTS)
def test_which_texts_contain_a_decision(text, same):
    assert read_decision(text) is same


@pytest.mark.parametrize(
    ("text", "decided"),
    [
        ("They are one.\n\n**Final Decision: Yes**.\n", True),
        ("Final Decision: **No", True),
        ('The task: output "Final Decision: Yes" if equivalent, "Final Decision: No" if not. First I compute', False),
        ("Final Decision: Yes, but", False),
        ("Yes", False),  # of "Yes, but the unit is missing."
        ("", False),
    ],
)
def test_whether_a_text_ends_with_a_decision(text, decided):
    assert ends_decided(text) is decided


REPLIES = {
    "Paris or Paris?": "They are one. Final Decision: Yes",
    "Paris or Rome?": "Final Decision: No",
    "It is Oslo, or is it Oslo in the end?": "Final Decision: Yes",
    "Rome?": "The quick brown fox",
}
LONG = ("Who?", "If yes, Final Decision: Yes. If no, Final Decision: No. The answers are one. Final Decision: Yes")
"""A reply that quotes both decisions before its own."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny model that has memorised its replies, with generation settings that would change them."""
    path = tiny_models.tiny_causal_lm(tmp_path_factory.mktemp("writer"), initializer_range=0.1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    learn(model, tokenizer)
    model.generation_config = transformers.GenerationConfig(
        do_sample=True, temperature=50.0, repetition_penalty=9.0, max_new_tokens=3, eos_token_id=tokenizer.eos_token_id
    )
    model.save_pretrained(path)
    return path


def learn(model: Any, tokenizer: Any) -> None:
    texts = [prompt + reply + tokenizer.eos_token for prompt, reply in [*REPLIES.items(), LONG]]
    rows = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
    for row, prompt in zip(labels, [*REPLIES, LONG[0]], strict=True):
        row[: len(tokenizer(prompt)["input_ids"])] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        loss = model(**rows, labels=labels).loss
        if loss < 0.01:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"the tiny model did not learn its replies: loss {loss:.2g}")


def decisions(
    checkpoint: Path, *, tokens: int | None = None, new: int = 24
) -> tuple[WrittenDecisions, list[list[int]]]:
    loaded = load_model("AutoModelForCausalLM", str(checkpoint), device="cpu")
    return WrittenDecisions(loaded, tokens=tokens, max_new_tokens=new), loaded.tokenizer(list(REPLIES))["input_ids"]


@pytest.mark.parametrize("tokens", [None, 1, 100])
def test_decisions_are_read_and_a_text_without_one_is_undecided_with_its_end(checkpoint, tokens):
    run, prompts = decisions(checkpoint, tokens=tokens)
    found = [verdict for _, verdict in sorted(run.verdicts(prompts))]
    assert [verdict.same for verdict in found] == [True, False, True, None]
    assert found[3].reason == "no final decision in ...'The quick brown fox'"
    assert {verdict.score for verdict in found} == {None}
    assert run.calls > 0


def test_a_text_that_is_cut_off_before_its_decision_is_undecided(checkpoint):
    run, prompts = decisions(checkpoint, new=4)
    (verdict,) = [verdict for _, verdict in run.verdicts(prompts[:1])]
    assert verdict.same is None
    assert verdict.reason.startswith("cut off before the decision: ...'They")
    assert verdict.reason.endswith("Raise max_new_tokens=4")


def test_a_quoted_decision_does_not_count_where_the_text_is_cut_off(checkpoint):
    run, _ = decisions(checkpoint, new=1)
    ids, said = (run._loaded.tokenizer([text])["input_ids"] for text in LONG)
    assert read_decision(run._loaded.tokenizer.decode(said[0][:-8])) is False
    for new, same in ((len(said[0]) - 8, None), (len(said[0]), True), (len(said[0]) + 1, True)):
        run, _ = decisions(checkpoint, new=new)
        ((_, verdict),) = run.verdicts(ids)
        assert verdict.same is same


def test_out_of_memory_makes_batches_smaller_and_reports_what_does_not_fit(checkpoint):
    run, prompts = decisions(checkpoint)
    generate, seen = run._loaded.model.generate, []
    longest = max(range(4), key=lambda index: len(prompts[index]))

    def small(input_ids, **inputs):
        seen.append(len(input_ids))
        if len(input_ids) > 1 or input_ids.shape[1] == len(prompts[longest]):
            raise torch.OutOfMemoryError("out of memory")
        return generate(input_ids=input_ids, **inputs)

    run._loaded.model.generate = small
    found = dict(run.verdicts(prompts))
    assert found[longest].reason == f"out of memory at {len(prompts[longest]) + 24} tokens, including new tokens"
    assert [found[index].same for index in range(4) if index != longest] == [True, False, None]
    assert seen[0] > 1
