"""Verdicts and samples in files are found again: by another scorer, by another process, and by a later release."""

from __future__ import annotations

import importlib
import json

import pytest

from semantic_entropy import Sample, Scorer, load_equivalence, load_sampler
from semantic_entropy.cache.sqlite import CacheFile
from semantic_entropy.plugin import Verdict, class_identity
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy_plugins import builtin
from tests.plugins.tiny_models import ANSWERS, QUESTION, tiny_causal_lm, tiny_nli


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"nli": str(tiny_nli(folder / "nli")), "verifier": str(tiny_causal_lm(folder / "verifier"))}


def loaded(which, models):
    if which != "cascade":
        return load_equivalence(which, model=models[which], device="cpu")
    stages = [{"judge": name, "options": {"model": model, "device": "cpu"}} for name, model in models.items()]
    return load_equivalence("cascade", judges=["exact", *stages])


@pytest.mark.parametrize("which", ["nli", "verifier", "cascade"])
def test_a_second_run_takes_all_verdicts_from_the_cache_file(which, models, tmp_path):
    said = []
    for _ in range(2):
        judge = loaded(which, models)
        with Scorer(judge, cache=tmp_path / "verdicts.sqlite") as scorer:
            how = scorer.estimate(list(ANSWERS), question=QUESTION).provenance
            said.append((how.asked, how.cached, str(scorer.cache).partition(": ")[2]))
        judge.close()
    asked = said[0][0]
    assert asked > 0
    assert said == [
        (asked, 0, f"0 verdicts found, {asked} added"),
        (0, asked, f"{asked} verdicts found, 0 added"),
    ]


# Where the classes of the built-in components were in 0.1.0, which wrote this into cache files and sample stores.
FIRST_PLACES = {
    "exact": "semantic_entropy_plugins.text:Exact",
    "text": "semantic_entropy_plugins.text:Text",
    "ngram": "semantic_entropy_plugins.text:NGram",
    "regex": "semantic_entropy_plugins.text:Regex",
    "math": "semantic_entropy_plugins.math:Math",
    "nli": "semantic_entropy_plugins.nli:NLI",
    "verifier": "semantic_entropy_plugins.verifier:Verifier",
    "embedding": "semantic_entropy_plugins.embedding:Embedding",
    "judge": "semantic_entropy_plugins.judge:Judge",
    "cascade": "semantic_entropy_plugins.cascade:Cascade",
    "openai": "semantic_entropy_plugins.openai_sampler:OpenAISampler",
    "vllm": "semantic_entropy_plugins.vllm_sampler:VLLMSampler",
    "hf": "semantic_entropy_plugins.hf_sampler:HFSampler",
}


@pytest.mark.parametrize(
    "component",
    [*builtin.semantic_entropy_equivalences(), *builtin.semantic_entropy_samplers()],
    ids=lambda component: component.name,
)
def test_files_know_a_built_in_class_by_its_first_place(component):
    try:
        factory = component.load()
    except ImportError as error:
        pytest.skip(str(error))
    assert ":".join(class_identity(factory)) == FIRST_PLACES[component.name]
    subclass = type("Subclass", (factory,), {"__module__": __name__})
    assert class_identity(subclass) == (__name__, "Subclass")


def test_a_verdict_that_release_0_1_0_wrote_is_found(tmp_path):
    left, right = "(x+1)^2", "x^2"
    written = bytes.fromhex("cb108a0d6f93ea2e0b555b99677edfe33f3611bee5035069950cd8b39f8ef6ba")
    cache = CacheFile(tmp_path / "verdicts.sqlite")
    cache._connection().execute("INSERT INTO verdicts VALUES (?, 0, NULL, NULL, NULL)", (written,))
    math = importlib.import_module("semantic_entropy_plugins.math.math_judge").Math
    key = (math, ("math", "both", 3.0), (("math-verify", "0.9.0"),), None, None, left, right)
    assert cache.get(key) == Verdict(False)
    cache.close()


def test_a_sample_that_release_0_1_0_wrote_is_found(tmp_path):
    path = tmp_path / "samples.jsonl"
    line = {
        "key": "f867679d5ba0f7c7114395df5bbd95f8",
        "sampler": "openai(model='m', base_url='http://localhost:1/v1')",
        "question": "Capital of France?",
        "sample": {"text": "Paris"},
    }
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    sampler = load_sampler("openai", model="m", base_url="http://localhost:1/v1", top_p=1)  # the default of 0.1.0
    store = SampleStore(path)
    assert store.get(sampler, "Capital of France?", 2) == [Sample("Paris")]
    store.close()
    sampler.close()
