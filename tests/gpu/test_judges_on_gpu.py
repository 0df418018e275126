"""The judges with a model, on a GPU in their default precision, compared with the same models on the CPU in float32."""

import itertools
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

from semantic_entropy import Scorer, load_equivalence
from semantic_entropy.plugin import Pair
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.models.batches import is_out_of_memory
from tests.plugins.tiny_models import ANSWERS, QUESTION, tiny_causal_lm, tiny_nli

PAIRS = [Pair(QUESTION, left, right) for left, right in itertools.product(ANSWERS, repeat=2)]
SCORE = 0.05  # largest difference of a score in bf16 (8 bits of mantissa) from the score in float32


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """name of a judge -> a tiny model of its kind."""
    root: Path = tmp_path_factory.mktemp("models")
    transformer = Transformer(str(tiny_nli(root / "encoder", positions=64)))
    size = transformer.get_embedding_dimension()
    torch.manual_seed(0)
    SentenceTransformer(modules=[transformer, Pooling(size), Dense(size, 8)], device="cpu").save(
        str(root / "embedding"), create_model_card=False
    )
    return {
        "nli": str(tiny_nli(root / "nli", "roberta", taught=True)),
        # small weights, so that the logits are close to each other, as rounding must not decide between far logits
        "verifier": str(tiny_causal_lm(root / "verifier", initializer_range=0.1)),
        "embedding": str(root / "embedding"),
    }


@pytest.mark.parametrize("name", ["nli", "verifier", "embedding"])
def test_verdicts_in_the_default_precision_of_the_gpu_are_those_of_float32_on_the_cpu(models, name, device):
    exact = load_equivalence(name, model=models[name], device="cpu").judge(PAIRS)
    judge = load_equivalence(name, model=models[name])
    found = judge.judge(PAIRS)
    assert "float32" not in judge.settings
    assert [verdict.score for verdict in found] == pytest.approx([verdict.score for verdict in exact], abs=SCORE)
    threshold = getattr(judge, "threshold", 0.5)
    sure = [index for index, verdict in enumerate(exact) if abs(verdict.score - threshold) > SCORE]
    assert [found[index].same for index in sure] == [exact[index].same for index in sure]


@pytest.mark.parametrize("name", ["nli", "verifier", "embedding"])
def test_float32_on_the_gpu_gives_the_scores_of_float32_on_the_cpu(models, name, device):
    exact = load_equivalence(name, model=models[name], device="cpu").judge(PAIRS)
    found = load_equivalence(name, model=models[name], device=device, dtype="float32").judge(PAIRS)
    assert [verdict.score for verdict in found] == pytest.approx([verdict.score for verdict in exact], abs=1e-3)


@pytest.mark.parametrize("name", ["nli", "verifier", "embedding"])
def test_a_judge_on_the_gpu_keeps_the_contract_of_a_judge(models, name):
    check_equivalence(load_equivalence(name, model=models[name]))


def test_the_taught_model_clusters_by_meaning_on_the_gpu(models):
    result = Scorer(equivalence=load_equivalence("nli", model=models["nli"], rule="either"), extract="whole").estimate(
        list(ANSWERS), question=QUESTION
    )
    assert len(set(result.labels)) == 3


@pytest.mark.parametrize("name", ["nli", "verifier"])
def test_a_closed_judge_gives_its_memory_back(models, name, device):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    judge = load_equivalence(name, model=models[name], device=device)
    judge.judge(PAIRS)
    assert torch.cuda.memory_allocated() > before
    judge.close()
    assert torch.cuda.memory_allocated() == before


def test_the_error_of_a_full_gpu_is_recognized(device):
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**46, dtype=torch.uint8, device=device)  # 64 TiB
    assert is_out_of_memory(full.value)
