"""The identity of a model: a local folder is identified by its content, whatever its path."""

from __future__ import annotations

import shutil

import pytest

from semantic_entropy import load_equivalence, load_sampler
from semantic_entropy.sampling.store import _key as sample_key
from semantic_entropy_plugins.models.checkpoints import model_identity
from tests.plugins.tiny_models import tiny_causal_lm, tiny_nli

KINDS = {
    "nli": (tiny_nli, load_equivalence, {}),
    "verifier": (tiny_causal_lm, load_equivalence, {}),
    "hf": (tiny_causal_lm, load_sampler, {"max_tokens": 4}),
}


def test_a_model_on_the_hub_is_identified_by_its_name():
    for commit in ("1234", "5678"):
        assert model_identity("owner/model", commit) == ("owner/model", "owner/model")


@pytest.mark.parametrize("kind", KINDS)
def test_a_local_folder_is_identified_by_its_content_whatever_its_path(tmp_path, monkeypatch, kind):
    make, load, options = KINDS[kind]
    folder, other = make(tmp_path / "m"), make(tmp_path / "other", seed=1)
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "m")
    monkeypatch.chdir(tmp_path)

    def key(model):
        loaded = load(kind, model=str(model), device="cpu", **options)
        if load is load_sampler:
            return sample_key(loaded, "q")
        return loaded.settings, tuple(sorted(loaded.versions.items()))

    assert len({key(model) for model in (folder, "m", "./m", "m/", moved)}) == 1
    assert key(other) != key(folder)
