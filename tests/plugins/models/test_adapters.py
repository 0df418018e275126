"""LoRA adapters of peft on a tiny model: the samplers use them with their base model."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

from semantic_entropy.plugin import Request, errors
from semantic_entropy_plugins.models.adapters import find_adapter
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler
from semantic_entropy_plugins.samplers.vllm_sampler import VLLMSampler
from tests.plugins.fake_vllm import LoRARequest, Script, lora_module, module
from tests.plugins.tiny_models import tiny_causal_lm

# peft 0.21 reads an attribute that transformers 5.23 has renamed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
QUESTIONS = ("What is the capital?", "Yes or no?")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_causal_lm(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """An adapter whose B is not zero, so that it changes the model, saved as `empo-train` saves it."""
    folder = tmp_path_factory.mktemp("adapter") / "final"
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(1)
    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, settings).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def merged(base, adapter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merged") / "model"
    model = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), adapter)
    model.merge_and_unload().save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def samples(model, **options):
    sampler = HFSampler(str(model), temperature=0.0, max_tokens=8, logprobs="model", **options)
    try:
        drawn = dict(sampler.stream(Request(i, question, 1) for i, question in enumerate(QUESTIONS)))
        return [drawn[request] for request in sorted(drawn, key=lambda request: request.index)], sampler.settings
    finally:
        sampler.close()


def test_an_adapter_draws_what_the_merged_model_draws(base, adapter, merged):
    tuned, _ = samples(adapter)
    whole, _ = samples(merged)
    plain, _ = samples(base)
    assert [one.text for one in tuned] == [one.text for one in whole]
    for one, other in zip(tuned, whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert [one.text for one in tuned] != [one.text for one in plain]


def test_samples_of_another_adapter_or_base_are_not_taken_from_a_store(base, adapter, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(adapter, changed)
    settings = json.loads((changed / "adapter_config.json").read_text())
    (changed / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 99}))
    assert len({samples(model)[1] for model in (adapter, changed, base)}) == 3


def test_another_base_model_can_be_named(base, adapter, tmp_path):
    moved = tmp_path / "final"
    shutil.copytree(adapter, moved)
    settings = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "/no/such/model"}))
    with pytest.raises(errors.OptionError, match=r"'/no/such/model', a folder that does not exist .* give base_model="):
        samples(moved)
    assert [one.text for one in samples(moved, base_model=str(base))[0]] == [one.text for one in samples(adapter)[0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is an adapter of type 'IA3': only LORA is supported"),
        ({"base_model_name_or_path": None}, "adapter_config.json names no base model: give base_model="),
        ({"r": None}, "adapter_config.json is not readable: TypeError"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_refused_with_the_reason(changes, message, adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "final")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "final" / "adapter_config.json").write_text(json.dumps({**settings, **changes}))
    with pytest.raises(errors.OptionError, match=message):
        find_adapter(str(tmp_path / "final"), None, None, "hf")


def test_an_adapter_without_safetensors_or_for_another_model_is_refused(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "final")
    other = tiny_causal_lm(tmp_path / "other", hidden_size=48)
    with pytest.raises(errors.OptionError, match="cannot be added to its base model .*other"):
        samples(tmp_path / "final", base_model=str(other))
    (tmp_path / "final" / "adapter_model.safetensors").unlink()
    with pytest.raises(errors.OptionError, match="is an adapter without adapter_model.safetensors"):
        samples(tmp_path / "final")


def test_a_base_model_is_refused_if_the_model_is_no_adapter(base):
    with pytest.raises(errors.OptionError, match="is not the folder of a LoRA adapter"):
        samples(base, base_model="owner/model")


def test_the_revision_of_the_base_model_is_that_of_the_adapter_unless_another_is_given(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "final")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    named = {**settings, "base_model_name_or_path": "owner/model", "revision": "v1"}
    (tmp_path / "final" / "adapter_config.json").write_text(json.dumps(named))
    found = [find_adapter(str(tmp_path / "final"), None, revision, "hf") for revision in (None, "v2")]
    assert [(one.base, one.revision) for one in found] == [("owner/model", "v1"), ("owner/model", "v2")]


def test_vllm_serves_the_base_model_with_the_adapter(base, adapter, monkeypatch):
    script = Script(transformers.AutoTokenizer.from_pretrained(base))
    monkeypatch.setitem(sys.modules, "vllm", module(script))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", lora_module())
    sampler = VLLMSampler(str(adapter), max_tokens=8)
    (started,) = script.started
    assert started["model"] == str(base)
    assert (started["enable_lora"], started["max_lora_rank"], started["tokenizer"]) == (True, 8, str(adapter))
    list(sampler.stream([Request(0, "Yes or no?", 1)]))
    assert script.lora_requests == [LoRARequest("adapter", 1, str(adapter))]
    list(sampler.variant(temperature=0.5).stream([Request(0, "Yes or no?", 1)]))
    assert len(script.started) == 1
    assert script.lora_requests[1] == script.lora_requests[0]


def test_vllm_refuses_an_adapter_that_replaces_whole_layers(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "final")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "final" / "adapter_config.json").write_text(json.dumps({**settings, "modules_to_save": ["lm_head"]}))
    with pytest.raises(errors.OptionError, match="replaces the layers lm_head"):
        VLLMSampler(str(tmp_path / "final"))
