"""The peak memory of training a 1.5B model on one GPU, next to the estimate of `--check`: a markdown table on stdout.

    python benchmarks/gpu_training.py                      # about 12 GB of disk, and 40 GB of GPU memory
    python benchmarks/gpu_training.py --layers 2 --steps 4 # a small model, to try the script

The model has random weights and the shape of Qwen2.5-Math-1.5B, so nothing is downloaded. Its vocabulary is that of the
demo, filled up with unused words. With the reward `random`, every step has a gradient, and with random weights no
completion ends early. So each pass has the number of tokens that `--check` assumes.

The script starts `empo-train` twice: the first run ends after half of the steps, the second continues from its
checkpoint (`--resume`). It exits with 1 if a step is missing, if a loss is not finite, or if the peak memory is above
the estimate. The peak is `torch.cuda.max_memory_allocated`; the memory of the CUDA context and of the allocator's cache
is not in it, and `--check` keeps a tenth of the GPU free for both.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from tokenizers.models import WordLevel

from empo_rl.check.findings import GIB
from empo_rl.check.gpu_memory import estimate, model_shape
from empo_rl.config import load_config
from empo_rl.run.tiny_model import make_tokenizer

QWEN_1_5B = {  # config.json of Qwen2.5-Math-1.5B
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
QUESTION = "What is " + "+".join(str(n % 10) for n in range(90)) + "?"  # about 250 tokens with the template
PROMPT_TOKENS = 256


def main() -> int:
    """Create the model, train, resume, and print the table."""
    options = arguments()
    if not torch.cuda.is_available():
        print("torch finds no GPU: this benchmark needs one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return measure(Path(folder), options)


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps; half of them before the resume")
    parser.add_argument("--generations", type=int, default=7, help="completions of a prompt; one pass has one group")
    parser.add_argument("--completion-tokens", type=int, default=512)
    parser.add_argument("--layers", type=int, default=QWEN_1_5B["num_hidden_layers"])
    parser.add_argument("--folder", help="where the model and the checkpoints are written [default: the system's]")
    return parser.parse_args()


def measure(folder: Path, options: argparse.Namespace) -> int:
    """Train in this folder and compare the memory. Returns the exit status."""
    write_model(folder / "model", options.layers)
    (folder / "questions.jsonl").write_text((json.dumps({"question": QUESTION}) + "\n") * 8, encoding="utf-8")
    settings = [
        *(f"model={folder / 'model'}", f"output_dir={folder / 'run'}", "check={}", "template={}", "empo.preset=null"),
        *("data={}", f"data.path={folder / 'questions.jsonl'}", f"data.max_prompt_tokens={PROMPT_TOKENS}"),
        *("launch.processes=1", "training.prompts_per_step=2", "training.keep_checkpoints=1", "empo.reward=random"),
        *(f"rollout.num_generations={options.generations}", f"training.save_every={options.steps // 2}"),
        f"rollout.max_completion_tokens={options.completion_tokens}",
    ]
    config = load_config("math-1.5b-empo", settings)
    shape = model_shape(config)
    assert shape is not None, "config.json was written above"
    parts = estimate(config, shape)
    train([*settings, f"training.steps={options.steps // 2}"])
    train([*settings, f"training.steps={options.steps}", "--resume"])
    cost = json.loads((folder / "run" / "cost.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    peak, expected = cost["peak_memory_gib"], sum(parts.values()) / GIB
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {shape.parameters / 1e9:.2f}e9 weights, bf16\n")
    print("| memory | GiB |\n|---|---|")
    for name, size in parts.items():
        print(f"| estimate: {name} | {size / GIB:.2f} |")
    print(f"| estimate of `--check` | {expected:.2f} |\n| peak ({cost['memory']}) | {peak:.2f} |\n")
    print(f"{cost['seconds']['step'] / cost['steps']:.1f} s a step: {cost['shares']}")
    complete = [row["step"] for row in rows] == list(range(1, options.steps + 1))
    finite = all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in rows)
    print(f"steps {[row['step'] for row in rows]}, grad_norm {[round(row['grad_norm'], 3) for row in rows]}")
    return 0 if complete and finite and peak <= expected else 1


def write_model(folder: Path, layers: int) -> None:
    """Write a model with random weights, in bf16, and its tokenizer."""
    tokenizer = make_tokenizer()
    size = {**QWEN_1_5B, "num_hidden_layers": layers}
    words = tokenizer.get_vocab()
    words |= {f"unused{n}": n for n in range(len(words), size["vocab_size"])}
    tokenizer.backend_tokenizer.model = WordLevel(words, unk_token=tokenizer.unk_token)
    tokenizer.model_max_length = size["max_position_embeddings"]
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**size, **ends)).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def train(settings: list[str]) -> None:
    """Run `empo-train math-1.5b-empo` with these settings."""
    subprocess.run([sys.executable, "-m", "empo_rl.cli", "math-1.5b-empo", *settings], check=True)


if __name__ == "__main__":
    sys.exit(main())
