"""How much of a GPU the `nli` judge and the `hf` sampler use, compared with the model alone in the same run.

    python benchmarks/gpu_judges.py        # models with random weights, made here; no download
    python benchmarks/gpu_judges.py --nli microsoft/deberta-large-mnli --sampler Qwen/Qwen2.5-1.5B-Instruct

`nli`: directions a second of `judge` on all pairs of --groups questions with 16 responses, in bfloat16 on a GPU. The
model alone is its forward pass on the same rows in the same batches, tokenised before and already on the device.
`hf`: new tokens a second of `stream` on --questions questions with 16 responses of --new tokens. The model alone is
`model.generate` with `do_sample=True` on the same number of rows a batch, without decoding texts.

Each row is the best of --runs runs after a first run. `--small` uses tiny models; it shows on a CPU that the script
runs. Exits with 1 if on a GPU `nli` is below 85% or `hf` below 95% of the model alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from small_nli import all_pairs, generated, make_model, make_tokenizer

from semantic_entropy.plugin import Request

# Internal: the model alone must run the same loaded model, on the batches that the judge forms.
from semantic_entropy_plugins.nli.nli_judge import NLI
from semantic_entropy_plugins.nli.pair_classifier import PairClassifier
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler

RESPONSES = 16
REACHED = {"nli": 0.85, "hf": 0.95}


def main() -> int:
    """Print the tables; return 1 if a GPU target is not reached."""
    options = arguments()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}\n")
    print("| | rows | unit | model alone | ours | share |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        shares = {
            "nli": report_nli(options, device, Path(folder) / "nli"),
            "hf": report_sampler(options, device, Path(folder) / "hf"),
        }
    missed = [kind for kind, share in shares.items() if device != "cpu" and share < REACHED[kind]]
    for kind in missed:
        print(f"{kind} is below {REACHED[kind]:.0%} of the model alone", file=sys.stderr)
    return 1 if missed else 0


def report_nli(options: argparse.Namespace, device: str, folder: Path) -> float:
    """Print the judge's row; return its share of the model alone."""
    groups = [generated(number, RESPONSES) for number in range(options.groups)]
    pairs = all_pairs(groups)
    model = options.nli or make_model(folder, groups[:8], *((64, 2) if options.small else (1024, 24)))
    judge = NLI(model, device=device)
    batches: list[dict[str, torch.Tensor]] = []
    recorded = record_batches(judge, batches)
    judge.judge(pairs)
    rows = sum(len(batch["input_ids"]) for batch in batches)
    recorded.stop()
    loaded = recorded.classifier._loaded  # noqa: SLF001

    def alone() -> None:
        with torch.inference_mode():
            outputs = [loaded.model(**batch).logits for batch in batches]
        torch.cat(outputs).tolist()

    seconds = {"alone": best(alone, options.runs), "ours": best(lambda: judge.judge(pairs), options.runs)}
    judge.close()
    return report("`nli`", rows, "directions a second", rows, seconds)


class record_batches:  # noqa: N801  # used like a function
    """Keep the inputs of the judge's forward passes, until `stop`."""

    def __init__(self, judge: NLI, batches: list[dict[str, torch.Tensor]]) -> None:
        self.classifier: PairClassifier = judge._open_classifier  # noqa: SLF001
        self._tokenizer = self.classifier._tokenizer  # noqa: SLF001
        padded = self._tokenizer.padded

        def keep(rows: object, device: torch.device) -> dict[str, torch.Tensor]:
            batches.append(padded(rows, device))  # type: ignore[arg-type]
            return batches[-1]

        self._tokenizer.padded = keep  # type: ignore[method-assign]

    def stop(self) -> None:
        """Record no more."""
        del self._tokenizer.padded


def report_sampler(options: argparse.Namespace, device: str, folder: Path) -> float:
    """Print the sampler's row; return its share of `generate`."""
    questions = [generated(number, 1)[0] for number in range(options.questions)]
    model = options.sampler or make_causal_model(folder, questions, device, small=options.small)
    sampler = HFSampler(
        model, device=device, max_tokens=options.new, seed=0, chat=False, batch_tokens=options.batch_tokens
    )
    engine = sampler._open_engine  # noqa: SLF001
    loaded, per_batch = sampler._model, 0  # noqa: SLF001
    assert loaded is not None
    budget = engine._budget.tokens  # noqa: SLF001

    def ours() -> int:
        requests = [Request(number, question, RESPONSES) for number, question in enumerate(questions)]
        return sum(len(sample.logprobs or ()) for _, sample in sampler.stream(requests))

    prompts = [prompt for question in questions for prompt in [question] * RESPONSES]
    encoded = loaded.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(device)
    per_batch = min(len(prompts), max(1, budget // (encoded["input_ids"].shape[1] + options.new)))

    def alone() -> None:
        for start in range(0, len(prompts), per_batch):
            batch = {name: values[start : start + per_batch] for name, values in encoded.items()}
            batch.pop("token_type_ids", None)
            with torch.inference_mode():
                found = loaded.model.generate(
                    **batch, do_sample=True, top_k=0, max_new_tokens=options.new, min_new_tokens=options.new
                )
            found[:, -1].tolist()

    count = ours()
    seconds = {"alone": best(alone, options.runs), "ours": best(ours, options.runs)}
    print(f"<!-- hf: batches of {per_batch} rows, a budget of {budget} tokens -->", file=sys.stderr)
    wanted = len(prompts) * options.new
    if count < 0.9 * wanted:
        print(f"hf: responses ended early ({count} of {wanted} tokens): choose another --sampler", file=sys.stderr)
    return report("`hf`", len(prompts), "new tokens a second", wanted, seconds)


def make_causal_model(folder: Path, texts: list[str], device: str, *, small: bool) -> str:
    """A Qwen2 with random weights, in the shape of Qwen2.5-1.5B or tiny, that never ends a text."""
    tokenizer = make_tokenizer(texts)
    torch.manual_seed(0)
    shape = (64, 2, 4, 2, 128) if small else (1536, 28, 12, 2, 8960)
    hidden, layers, heads, groups, inner = shape
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer) if small else 151936,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=inner,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=0,
    )
    with torch.device(device):
        model = transformers.Qwen2ForCausalLM(config).to(torch.float32 if device == "cpu" else torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    return str(folder)


def report(name: str, rows: int, unit: str, count: int, seconds: dict[str, float]) -> float:
    """Print a row of the table; return the share."""
    share = seconds["alone"] / seconds["ours"]
    alone, ours = (count / seconds[kind] for kind in ("alone", "ours"))
    print(f"| {name} | {rows} | {unit} | {alone:,.0f} | {ours:,.0f} | {share:.0%} |", flush=True)
    return share


def best(run: Callable[[], object], times: int) -> float:
    """Seconds of the fastest run; each run ends with results on the CPU."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nli", help="an NLI model by name, or a folder; default: made here, DeBERTa-large's shape")
    parser.add_argument("--sampler", help="a causal model by name, or a folder; default: made here, 1.5B")
    parser.add_argument("--groups", type=int, default=256)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--batch-tokens", type=int, help="of the sampler; default: the sampler's own")
    parser.add_argument("--device")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny models")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
