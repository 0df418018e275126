"""Loading models: the result, and the message of each failure. The hub is a server on the loopback address."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from semantic_entropy import EquivalenceError, InputError
from semantic_entropy.errors import OptionError
from semantic_entropy_plugins.models.loading import load_model
from semantic_entropy_plugins.models.tokenizers import context_window
from tests.plugins.fake_hub import FakeHub, commit_of, running
from tests.plugins.tiny_models import NLI_KINDS, tiny_causal_lm, tiny_nli

KIND = "AutoModelForSequenceClassification"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One tiny model for all tests in this file: copy it before changing it."""
    return tiny_nli(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(scope="module")
def pickled(made, tmp_path_factory):
    """The same weights, pickled."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("pickled") / "model"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def load(folder: Path | str, **options):
    return load_model(KIND, str(folder), purpose="nli", **options)


@pytest.mark.parametrize("kind", NLI_KINDS)
def test_a_model_is_loaded_in_eval_mode_in_float32_on_a_cpu_with_its_tokenizer(kind, tmp_path):
    loaded = load(tiny_nli(tmp_path / kind, kind, positions=64))
    assert not loaded.model.training
    assert (loaded.device.type, loaded.dtype, loaded.revision) == ("cpu", torch.float32, None)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.tokenizer("Paris").input_ids
    assert loaded.max_length == 64


@pytest.mark.parametrize("kind", NLI_KINDS)
def test_the_window_is_the_longest_input_that_the_model_takes(kind, tmp_path):
    """One token after the end of a table of positions is an index error; relative positions have no end."""
    folder = tiny_nli(tmp_path / kind, kind, positions=48)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["model_max_length"] = 10**30  # as in many tokenizers on the hub
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load(folder)
    assert loaded.max_length == 48
    word = loaded.tokenizer("Paris", add_special_tokens=False).input_ids[0]
    loaded.model(input_ids=torch.tensor([[word] * 48]))
    if kind in ("bert", "roberta"):
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=torch.tensor([[word] * 49]))


def test_a_model_without_a_limit_has_no_window():
    model = transformers.BloomForCausalLM(transformers.BloomConfig(hidden_size=16, n_layer=1, n_head=2, vocab_size=9))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()))
    assert context_window(tokenizer, model) is None


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
@pytest.mark.parametrize("kind", NLI_KINDS)
def test_the_model_runs_in_the_requested_precision(kind, name, dtype, tmp_path):
    """DeBERTa's from_pretrained leaves two biases of each layer in float32, with which it does not run."""
    loaded = load(tiny_nli(tmp_path / kind, kind), dtype=name)
    assert loaded.dtype == dtype
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {dtype}
    assert loaded.model(**loaded.tokenizer(["Paris"], return_tensors="pt")).logits.dtype == dtype


def test_rotary_embeddings_stay_in_float32(tmp_path):
    loaded = load_model("AutoModelForCausalLM", str(tiny_causal_lm(tmp_path / "model")), dtype="bfloat16")
    assert loaded.model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_the_head_reads_whole_rows_in_half_precision(tmp_path):
    """torch's product of a view copies the weights of the head for each row: 7 GB for 26 rows of a real vocabulary."""
    loaded = load_model("AutoModelForCausalLM", str(tiny_causal_lm(tmp_path / "model")), dtype="bfloat16")
    seen = []
    loaded.model.get_output_embeddings().register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    loaded.model.generate(input_ids=torch.ones(3, 5, dtype=torch.long), max_new_tokens=2, do_sample=False)
    assert [tuple(states.shape[:2]) for states in seen] == [(3, 1), (3, 1)]
    assert all(states.is_contiguous() for states in seen)


def test_loading_does_not_change_the_number_of_threads(made):
    before = torch.get_num_threads()
    load(made)
    assert torch.get_num_threads() == before


def test_the_commit_of_a_folder_is_a_digest_of_its_content(made, copy):
    commit = load(made).commit
    assert load(copy).commit == commit  # another path and time, the same content
    weights = load_file(copy / "model.safetensors")
    weights["classifier.bias"] += 1  # the same names, shapes and sizes
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert load(copy).commit != commit


def without_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def with_config(**values):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def without(pattern: str):
    def change(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return change


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:4000])


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (without("*"), ["no config.json", "it is empty", "save_pretrained"]),
        (without("config.json"), ["no config.json", "model.safetensors"]),
        (without("*.safetensors"), ["no weights as safetensors", "config.json"]),
        (without("token*"), ["no tokenizer", "tokenizer.save_pretrained"]),
        (broken_tokenizer, ["no tokenizer that can be loaded", "tokenizer.save_pretrained"]),
        (truncated, [f"cannot be loaded as {KIND}", "SafetensorError"]),
        (without_head, ["classifier.bias, classifier.weight", "random weights would take their place"]),
        (with_config(hidden_size=64), [f"cannot be loaded as {KIND}"]),
        (with_config(hidden_size="large"), [f"cannot be loaded as {KIND}", "hidden_size"]),
        (with_config(model_type="unheard-of"), [f"cannot be loaded as {KIND}", "unheard-of"]),
    ],
)
def test_an_incomplete_folder_is_an_error_that_says_what_is_missing(copy, change, parts):
    change(copy)
    with pytest.raises(OptionError) as caught:
        load(copy)
    for part in [f"nli: model={str(copy)!r}", *parts]:
        assert part in str(caught.value)


def test_another_kind_of_model_is_an_error_that_says_which_to_choose(made, tmp_path, capfd):
    deberta = tiny_nli(tmp_path / "deberta", "deberta-v2")
    for folder in (made, deberta):
        with pytest.raises(OptionError, match="choose a causal language model") as caught:
            load_model("AutoModelForCausalLM", str(folder), purpose="verifier")
        assert "Config" not in str(caught.value)
    assert "LOAD REPORT" not in capfd.readouterr().err


def test_a_model_with_code_of_its_author_is_refused_and_the_code_does_not_run(copy, tmp_path):
    mark = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with_config(model_type="own", auto_map={"AutoConfig": "own.Config", KIND: "own.Model"})(copy)
    with pytest.raises(OptionError, match="nli: model="):
        load(copy)
    assert not mark.exists()


def test_only_pickled_weights_are_refused_with_the_reason_and_the_option(pickled):
    with pytest.raises(OptionError) as caught:
        load(pickled)
    assert "can run any code" in str(caught.value)
    assert "allow_pickle=True" in str(caught.value)


def test_pickled_weights_are_read_with_allow_pickle(pickled, made):
    inputs = {"input_ids": torch.tensor([[1, 7, 2]])}
    asked = load(pickled, allow_pickle=True).model(**inputs).logits
    assert torch.allclose(asked, load(made).model(**inputs).logits, atol=1e-5)


class Touch:
    """The content of a hostile pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_even_with_allow_pickle(pickled, tmp_path):
    folder = Path(shutil.copytree(pickled, tmp_path / "hostile"))
    torch.save({"weight": Touch(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(OptionError, match=f"cannot be loaded as {KIND}"):
        load(folder, allow_pickle=True)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Touch(tmp_path / "ran")))  # such a pickle runs code where it is read
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"dtype": "bf16"}, "dtype='bf16' is unknown. Did you mean 'bfloat16'? Use one of: float32, bfloat16, float16"),
        ({"device": "gpu"}, "device='gpu' is not a torch device: use 'cpu' or 'cuda'"),
        ({"attn_implementation": "fast"}, "cannot be loaded as"),
    ],
)
def test_an_invalid_option_is_an_error_with_the_alternatives(made, options, part):
    with pytest.raises(InputError) as caught:
        load(made, **options)
    assert part in str(caught.value)


@pytest.mark.skipif(torch.cuda.device_count() > 8, reason="there is such a device here")
@pytest.mark.parametrize("device", ["cuda:8"])
def test_a_missing_gpu_is_an_error_that_says_what_to_do(made, device):
    with pytest.raises(OptionError, match=r"torch finds \d+ CUDA devices.*device='cpu'"):
        load(made, device=device)


def test_out_of_memory_during_loading_says_what_needs_less(made, monkeypatch):
    def full(self, *_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(EquivalenceError, match="out of memory. Use a smaller model, dtype='bfloat16'"):
        load(made)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Data processing error: File write error: No space left on device (os error 28)"),  # hf_xet
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_full_disk_is_an_error_with_the_free_space_and_the_variable_to_set(error, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(EquivalenceError, match=r"the disk is full: \d+\.\d GB are free for .*HF_HOME"):
        load("owner/name")


@pytest.mark.parametrize("name", ["/no/such/folder", "./neither", "a b", "a/b/c"])
def test_a_name_that_is_neither_a_folder_nor_on_the_hub_is_an_error(name):
    with pytest.raises(OptionError, match="neither a local folder nor a model name"):
        load(name)


SCRIPT = """
import json, sys
from semantic_entropy_plugins.models.loading import load_model
from semantic_entropy.errors import SemanticEntropyError
for line in sys.stdin:
    name, options = json.loads(line)
    try:
        loaded = load_model("AutoModelForSequenceClassification", name, purpose="nli", **options)
        said = ["loaded", f"{loaded.revision} {loaded.commit}"]
    except SemanticEntropyError as error:
        said = [type(error).__name__, str(error)]
    print(json.dumps(said), flush=True)
"""


class Client:
    """A new process that loads models on request, because the hub's client reads its address at import."""

    def __init__(self, url: str, home: Path, **variables: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
        del environment["TRANSFORMERS_OFFLINE"]
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | variables
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self._process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, **pipes)

    def load(self, name: str, **options: object) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, options]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def told(made, pickled, tmp_path_factory):
    """The results of clients of a hub: while it runs, after it has stopped, and with the network switched off."""
    other = tmp_path_factory.mktemp("other")
    (other / "model.gguf").write_text("another format")
    title = "Adding `safetensors` variant of this model"
    hub = FakeHub(
        {
            "owner/fine": {"main": made, "v1": made},
            "owner/pickled": {"main": pickled},
            "owner/converted": {"main": pickled, "refs/pr/2": made, "refs/pr/3": made},
            "owner/other": {"main": other},
            "owner/gated": {"main": made},
        },
        gated={"owner/gated"},
        pull_requests={"owner/converted": [(2, "somebody", title), (3, "SFconvertbot", title)]},
    )
    home, said = tmp_path_factory.mktemp("home"), {}
    cases = [
        ("fine", "owner/fine", {}),
        ("revision", "owner/fine", {"revision": "v1"}),
        ("commit", "owner/fine", {"revision": commit_of("owner/fine", "v1")}),
        ("no revision", "owner/fine", {"revision": "v2"}),
        ("pickled", "owner/pickled", {}),
        ("allowed", "owner/pickled", {"allow_pickle": True}),
        ("converted", "owner/converted", {}),
        ("main asked", "owner/converted", {"revision": "main"}),
        ("other", "owner/other", {}),
        ("gated", "owner/gated", {}),
        ("missing", "owner/missing", {}),
    ]
    with running(hub):
        client, offline = Client(hub.url, home), Client(hub.url, home, HF_HUB_OFFLINE="1")
        for case, name, options in cases:
            said[case] = client.load(name, **options)
    for name in ("owner/fine", "owner/converted", "owner/new"):
        said[f"down: {name}"] = client.load(name)
        said[f"offline: {name}"] = offline.load(name)
    client.close()
    offline.close()
    return said, hub


def test_a_model_on_the_hub_has_the_commit_of_its_revision(told):
    said, _ = told
    assert said["fine"] == ["loaded", f"None {commit_of('owner/fine', 'main')}"]
    assert said["revision"] == ["loaded", f"v1 {commit_of('owner/fine', 'v1')}"]
    assert said["commit"] == ["loaded", f"{commit_of('owner/fine', 'v1')} {commit_of('owner/fine', 'v1')}"]


def test_converted_weights_come_only_from_the_pull_request_of_the_hubs_bot(told):
    said, _ = told
    assert said["converted"] == ["loaded", f"refs/pr/3 {commit_of('owner/converted', 'refs/pr/3')}"]
    assert said["main asked"][0] == "OptionError"  # a requested revision is not replaced


def test_only_read_requests_are_sent_to_the_hub(told):
    _, hub = told
    assert {line.split()[0] for line in hub.asked} == {"GET", "HEAD"}


def test_a_cached_model_needs_no_network(told):
    said, _ = told
    for how in ("down", "offline"):
        assert said[f"{how}: owner/fine"] == said["fine"]
        assert said[f"{how}: owner/converted"] == said["converted"]


@pytest.mark.parametrize(
    ("case", "kind", "parts"),
    [
        ("no revision", "OptionError", ["no revision 'v2'", "branch, tag or commit"]),
        ("pickled", "OptionError", ["only pickled weights", "allow_pickle=True"]),
        ("other", "OptionError", ["no config.json", "model.gguf"]),
        ("gated", "EquivalenceError", ["is gated", "hf auth login", "HF_TOKEN"]),
        ("missing", "OptionError", ["neither a local folder nor a model on http", "hf auth login"]),
        ("down: owner/new", "EquivalenceError", ["could not be downloaded", "Connection refused", "hf download"]),
        ("offline: owner/new", "EquivalenceError", ["HF_HUB_OFFLINE is set", "hf download"]),
    ],
)
def test_a_refusal_of_the_hub_is_an_error_that_says_what_to_do(told, case, kind, parts):
    said, _ = told
    assert said[case][0] == kind
    for part in ["nli: model='owner/", *parts]:
        assert part in said[case][1]


def test_pickled_weights_on_the_hub_are_read_with_allow_pickle(told):
    said, _ = told
    assert said["allowed"] == ["loaded", f"None {commit_of('owner/pickled', 'main')}"]


def test_loading_prints_nothing_and_leaves_progress_bars_enabled(made, capfd):
    load(made)
    assert capfd.readouterr().err == ""
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_a_complete_tokenizer_of_a_qwen2_model_keeps_its_own_rules_for_splitting_words(tmp_path):
    from empo_rl.run.tiny_model import make_model, make_tokenizer

    made = make_tokenizer()
    make_model(made, seed=0).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    text = "<|im_start|>user\nWhat is (6+5)*8+2?<|im_end|>\n"
    loaded = load_model("AutoModelForCausalLM", str(tmp_path), tokenizer_as_saved=True).tokenizer
    assert loaded(text)["input_ids"] == made(text)["input_ids"]
    assert (loaded.eos_token, loaded.pad_token, loaded.chat_template) == (
        made.eos_token,
        made.pad_token,
        made.chat_template,
    )
