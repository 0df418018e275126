import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from empo_rl import extras
from empo_rl.config.load import load_config
from empo_rl.run import final_model, models, tiny_model
from semantic_entropy import InputError, MissingDependencyError
from tests.plugins.fake_hub import FakeHub, running
from tests.plugins.tiny_models import tiny_causal_lm


def fitted(*overrides, kind="cpu", recipe="math-1.5b-empo"):
    config, notes = models.fit_to_device(load_config(recipe, overrides), kind)
    return (config.device, config.training.precision), notes


def test_without_a_gpu_a_run_that_asks_for_nothing_trains_on_the_cpu_and_says_so():
    choices, notes = fitted("training.precision=auto")
    assert choices == ("cpu", "fp32")
    assert notes == ["no GPU found: training on the CPU in fp32"]


def test_bf16_without_a_gpu_is_refused_with_the_two_keys():
    with pytest.raises(InputError, match=r"Add device=cpu training\.precision=fp32 "):
        fitted()


@pytest.mark.parametrize(("able", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_computes_in_bf16_where_it_can(able, precision, monkeypatch):
    monkeypatch.setattr(models, "is_torch_bf16_gpu_available", lambda: able)
    assert fitted("training.precision=auto", kind="cuda") == (("auto", precision), [])


def test_a_gpu_without_bf16_is_named(monkeypatch):
    monkeypatch.setattr(models, "is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(InputError, match=r"the cuda device here cannot compute in bf16. Use training\.precision=fp32"):
        fitted(kind="cuda")


def test_what_was_asked_for_stays():
    assert fitted("device=cpu") == (("cpu", "bf16"), [])
    assert fitted(recipe="tiny") == (("cpu", "fp32"), [])


FOUR_BITS = ["lora={load_in_4bit: true}", "training.precision=bf16", "model=owner/model", "device=auto"]


def test_the_revision_of_the_model_and_of_its_tokenizer_is_loaded_from_the_hub(tmp_path):
    widths = {"main": 32, "v2": 48}
    revisions = {name: tiny_causal_lm(tmp_path / name, hidden_size=width) for name, width in widths.items()}
    (revisions["v2"] / "chat_template.jinja").write_text("{{ messages[0].content }} v2")
    program = (
        "from empo_rl.config.load import load_config; from empo_rl.run import models\n"
        "config = load_config('tiny', ['model=owner/model', 'revision=v2'])\n"
        "print(models.load_model(config).config.hidden_size, models.load_tokenizer(config).chat_template[-2:])"
    )
    with running(FakeHub({"owner/model": revisions})) as hub:
        # the address of the hub is read when its library is imported
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        environment["TRANSFORMERS_OFFLINE"] = "0"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
    assert done.stdout.split() == ["48", "v2"], done.stderr[-2000:]


def test_the_head_reads_whole_rows_in_bf16_on_a_cpu(tmp_path):
    folder = [f"model={tiny_causal_lm(tmp_path / 'model')}", "device=cpu", "training.precision=bf16"]
    model = models.load_model(load_config("tiny", folder))
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model(input_ids=torch.ones(3, 5, dtype=torch.long), logits_to_keep=2).logits.sum().backward()
    assert [tuple(states.shape[:2]) for states in seen] == [(3, 2)]
    assert seen[0].is_contiguous()


def test_attn_implementation_is_that_of_the_loaded_model(tmp_path):
    folder = f"model={tiny_causal_lm(tmp_path / 'model')}"
    assert models.load_model(load_config("tiny", [folder])).config._attn_implementation == "sdpa"
    eager = models.load_model(load_config("tiny", [folder, "attn_implementation=eager"]))
    assert eager.config._attn_implementation == "eager"


def test_the_adapter_names_the_revision_of_its_base_model():
    config = load_config("tiny", ["model=owner/model", "revision=v2", "lora={}"])
    assert models.lora_config(config).revision == "v2"


def test_a_revision_of_a_local_folder_is_refused(tmp_path):
    config = load_config("tiny", [f"model={tiny_causal_lm(tmp_path / 'model')}", "revision=v2"])
    for load in (models.load_model, models.load_tokenizer):
        with pytest.raises(InputError, match=r"revision='v2' is a branch.* is a folder here: remove revision"):
            load(config)


def test_attention_that_this_machine_cannot_run_is_named(tmp_path):
    folder = tiny_causal_lm(tmp_path / "model")
    flash = [f"model={folder}", "attn_implementation=flash_attention_2"]
    with pytest.raises(InputError, match=r"with attn_implementation=flash_attention_2: .*package for FlashAttention2"):
        models.load_model(load_config("tiny", [*flash, "training.precision=bf16"]))
    with pytest.raises(InputError, match="flash_attention_2 computes in bf16, and this run computes in fp32"):
        models.load_model(load_config("tiny", flash))


def test_the_arguments_of_a_4_bit_model_are_those_of_qlora(monkeypatch):
    """NF4 with double quantization, products in bf16: section 3 of QLoRA (Dettmers et al. 2023)."""
    monkeypatch.setattr(models, "require_extra", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    given = models.loading_arguments(load_config("tiny", FOUR_BITS))
    assert given["device_map"] == {"": 3}
    assert given["dtype"] == torch.bfloat16
    settings = given["quantization_config"]
    assert isinstance(settings, transformers.BitsAndBytesConfig)
    assert (settings.load_in_4bit, settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant) == (
        True,
        "nf4",
        True,
    )
    assert settings.bnb_4bit_compute_dtype == torch.bfloat16
    settings = models.loading_arguments(
        load_config("tiny", [*FOUR_BITS, "lora.bnb_4bit_quant_type=fp4", "lora.bnb_4bit_use_double_quant=false"])
    )["quantization_config"]
    assert (settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant) == ("fp4", False)


def test_a_4_bit_model_needs_bitsandbytes_and_a_gpu(monkeypatch):
    config = load_config("tiny", FOUR_BITS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(extras, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError, match=r"lora.load_in_4bit needs bitsandbytes, .*\[qlora\]"):
            models.load_model(config)
    monkeypatch.setattr(models, "require_extra", lambda *_, **__: None)
    with pytest.raises(InputError, match="lora.load_in_4bit needs a GPU, and torch finds none here"):
        models.load_model(config)


def test_the_trained_weights_of_a_quantized_model_are_fp32():
    """TRL converts them to bf16. The frozen weights stay as they are."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.bfloat16)
    model[0].requires_grad_(False)
    models.trained_weights_in_fp32(model)
    assert [weight.dtype for weight in model.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("launch.strategy=zero3", "lora.load_in_4bit does not work with launch.strategy=zero3"),
        ("rollout.engine=vllm-colocate", "the rounding loses small updates. Set rollout.engine=transformers"),
        ("training.weights=bf16", "training.weights=bf16 does not apply to lora.load_in_4bit"),
        ("device=cpu", "lora.load_in_4bit needs a GPU, which device=cpu does not use"),
        ("model=demo", "lora.load_in_4bit needs a GPU, which model=demo does not use"),
        ("attn_implementation=kernels-community/flash-attn2", "attn_implementation='.*': expected one of eager, sdpa"),
    ],
)
def test_settings_that_do_not_fit_a_4_bit_model_are_refused(override, message):
    with pytest.raises(InputError, match=message):
        load_config("tiny", [*FOUR_BITS, override])


def test_with_fsdp2_only_the_first_process_of_a_machine_takes_memory_for_the_weights(model, tmp_path, monkeypatch):
    """400 MB of weights, of which the other process writes none."""
    config = model.config
    config.vocab_size, config.tie_word_embeddings = 800_000, False
    config.save_pretrained(tmp_path / "large")  # the files of the weights do not even exist
    monkeypatch.setenv("LOCAL_RANK", "1")
    before = resident_bytes()
    loaded = models.load_model(
        load_config("tiny", [f"model={tmp_path / 'large'}", "launch.strategy=fsdp2", "device=auto"])
    )
    assert sum(weight.nbytes for weight in loaded.parameters()) > 400e6
    assert resident_bytes() - before < 100e6
    assert len({weight.data_ptr() for weight in loaded.parameters()}) == len(list(loaded.parameters()))


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tokenizer):
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("saved")
    tiny_model.make_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "model"))


def of(folder):
    return load_config("tiny", [f"model={folder}"])


def test_code_of_the_models_author_is_refused_without_a_question_and_does_not_run(copied, tmp_path, monkeypatch):
    def asked(prompt=""):
        pytest.fail(f"standard input was read: {prompt}")

    monkeypatch.setattr("builtins.input", asked)
    mark = tmp_path / "ran"
    (copied / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    classes = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": ["own.Slow", None]}
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((copied / name).read_text())
        values |= {"model_type": "own", "auto_map": classes, "tokenizer_class": "OwnTokenizer"}
        (copied / name).write_text(json.dumps(values))
    for load in (models.load_tokenizer, models.load_model):
        with pytest.raises(InputError, match=r"needs code of the model's author .* which empo-train never runs"):
            load(of(copied))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("file", "content", "load", "message"),
    [
        ("model.safetensors", None, models.load_model, "cannot load .*SafetensorError"),
        ("config.json", "{", models.load_model, "cannot load .*config"),
        ("tokenizer.json", "{", models.load_tokenizer, "cannot load the tokenizer of "),
        ("tokenizer_config.json", "[]", models.load_tokenizer, "cannot load the tokenizer of .*AttributeError"),
    ],
)
def test_a_broken_file_of_the_model_is_an_error_that_names_the_model(file, content, load, message, copied):
    whole = (copied / file).read_bytes()
    (copied / file).write_bytes(whole[: len(whole) // 2] if content is None else content.encode())
    with pytest.raises(InputError, match=f"model: {message}"):
        load(of(copied))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}", "TemplateSyntaxError: Unexpected end of template"),
        ("{{ messages[0].content | nothing }}", "No filter named 'nothing'"),
        ("{{ raise_exception('only one turn') }}", "TemplateError: only one turn"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_an_error_of_the_chat_template_names_the_key_and_the_prompt(template, message, tokenizer):
    broken = copy.copy(tokenizer)
    broken.chat_template = template
    with pytest.raises(InputError, match=f"template.chat_template: .* cannot render the prompt '1\\+1'.*{message}"):
        models.render_prompt(broken, [{"role": "user", "content": "1+1"}])


def test_the_model_of_a_checkpoint_of_fsdp_in_one_file_is_written(tmp_path):
    """Version 0.1.0 wrote such checkpoints."""
    checkpoint, out = tmp_path / "checkpoint-2", tmp_path / "out"
    tiny_causal_lm(checkpoint)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    torch.save(model.state_dict(), checkpoint / "pytorch_model_fsdp.bin")
    (checkpoint / "model.safetensors").unlink()
    final_model.export_checkpoint(checkpoint, out)
    written = transformers.AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert all(torch.equal(written[name], weight) for name, weight in model.state_dict().items())
