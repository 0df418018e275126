import pytest

from empo_rl.config.load import load_config
from empo_rl.run import models
from semantic_entropy import InputError


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
