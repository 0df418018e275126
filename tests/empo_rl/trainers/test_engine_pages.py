"""The code on the pages of OpenRLHF and SkyRL, run with stand-ins whose attributes were read from their sources.

OpenRLHF at 3c3be62: openrlhf/utils/agent.py (`SingleTurnAgentExecutor.execute` and its output) and
openrlhf/trainer/ray/vllm_engine.py (`generate_responses`). If OpenRLHF's source is on the path, its own class is used.
SkyRL at a956457: skyrl/train/generators/base.py, skyrl/train/generators/skyrl_gym_generator.py and
skyrl/backends/skyrl_train/utils/ppo_utils.py. If SkyRL's source and what it imports are on the path, one test runs
its own filter, its conversion of rewards, and its call of the registered estimator.
"""

import ast
import asyncio
import sys
import types
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from empo_rl import EmpoProvider, RolloutGroup

PAGES = Path(__file__).parents[3] / "docs" / "empo"
HALVES = [r"\boxed{1}", r"\boxed{1}", r"\boxed{2}", r"\boxed{3}"]
AGREED = [r"\boxed{5}"] * 4
UNREADABLE = ["?", r"\boxed{4}", r"\boxed{4}", r"\boxed{4}", r"\boxed{6}"]


def blocks(page):
    """The Python blocks of a page that its own tests cannot run."""
    parts = (PAGES / page).read_text(encoding="utf-8").split("<!-- not run: ")[1:]
    return [part.split("```python\n")[1].split("```")[0] for part in parts]


def module(monkeypatch, name, **names):
    """Put a stand-in for a module, and for the packages above it, into `sys.modules`."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        above = ".".join(parts[:end])
        if above not in sys.modules:
            monkeypatch.setitem(sys.modules, above, types.ModuleType(above))
    for key, value in names.items():
        monkeypatch.setattr(sys.modules[name], key, value, raising=False)


def expected(*groups, **options):
    with EmpoProvider("math", extract="boxed", **options) as provider:
        return provider.step([RolloutGroup(tuple(group)) for group in groups])


class Tokenizer:
    """One token for each character; 0 is the end token."""

    def __call__(self, *, text, add_special_tokens, return_tensors):
        assert (add_special_tokens, return_tensors) == (False, "pt")
        return {"input_ids": torch.tensor([[ord(character) for character in text]])}

    def decode(self, tokens, *, skip_special_tokens):
        return "".join(chr(token) for token in tokens if token or not skip_special_tokens)


@dataclass
class SamplingParams:
    max_tokens: int = 100
    logprobs: int | None = None


class Engine:
    """Returns stored completions, in the order of the prompts' calls, after a number of turns of the event loop."""

    def __init__(self, completions):
        self.completions = list(completions)

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        text, turns = self.completions.pop(0), len(self.completions) % 3 + 1
        for _ in range(turns):
            await asyncio.sleep(0)
        if text is None:
            raise OSError("the engine is gone")
        output = types.SimpleNamespace(token_ids=[*map(ord, text), 0], text=text, finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[output])


class ReadExecutor:
    """What `execute` of OpenRLHF's `SingleTurnAgentExecutor` does without a reward endpoint."""

    def __init__(self, remote_rm_url=None):
        self.reward_endpoints = []

    async def execute(self, prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=None):
        ids = hf_tokenizer(text=prompt, add_special_tokens=False, return_tensors="pt")["input_ids"][0].tolist()
        found = (await llm_engine.generate(ids, sampling_params, multi_modal_data=None)).outputs[0]
        return {
            "prompt": prompt,
            "label": label,
            "observation_tokens": ids + found.token_ids,
            "action_ranges": [(len(ids), len(ids) + len(found.token_ids))],
            "truncated": found.finish_reason == "length",
            "reward": None,
            "scores": None,
            "extra_logs": {},
        }


@pytest.fixture
def agent(monkeypatch):
    if find_spec("openrlhf") is None:
        module(monkeypatch, "openrlhf.utils.agent", SingleTurnAgentExecutor=ReadExecutor)
    (code,) = blocks("openrlhf.md")
    namespace = {}
    exec(compile(code, "openrlhf.md", "exec"), namespace)
    executor = namespace["AgentExecutor"]()
    yield executor
    executor.provider.close()


async def generate_responses(executor, prompt, completions):
    """As `RolloutRayActor.generate_responses`: one object of sampling parameters for all completions of a call."""
    params, engine = SamplingParams(), Engine(completions)
    arguments = {"prompt": prompt, "label": None, "max_length": 10_000, "hf_tokenizer": Tokenizer()}
    arguments |= {"sampling_params": params, "llm_engine": engine}
    return await asyncio.gather(*(executor.execute(**arguments) for _ in completions))


def test_openrlhf_decides_about_whole_groups_also_of_equal_prompts_at_the_same_time(agent):
    async def everything():
        groups = [("What?", HALVES), ("What?", AGREED), ("Why?", UNREADABLE), ("How?", ["alone"])]
        return await asyncio.gather(*(generate_responses(agent, prompt, texts) for prompt, texts in groups))

    *groups, single = asyncio.run(everything())
    assert agent.gatherings == {}
    assert [output["reward"] for output in single] == [0.0]  # an evaluation with one completion does not wait
    for outputs, texts in zip(groups, (HALVES, AGREED, UNREADABLE), strict=True):
        decision = expected(texts)
        assert [output["reward"] for output in outputs] == pytest.approx(decision.advantages.tolist())
        assert [output["extra_logs"]["empo_reward"] for output in outputs] == pytest.approx(decision.rewards.tolist())
        scores = [output["scores"] for output in outputs]
        assert (0 < np.mean(scores) < 1) == bool(decision.keep[0])  # the rule of the dynamic filter


def test_openrlhf_dr_grpo_leaves_the_advantages_as_they_are_and_group_norm_does_not(agent):
    (outputs,) = [asyncio.run(generate_responses(agent, "What?", HALVES))]
    rewards = torch.tensor([[output["reward"] for output in outputs]])
    assert (rewards - rewards.mean(-1, keepdim=True))[0].tolist() == pytest.approx(
        expected(HALVES).advantages.tolist(), abs=1e-6
    )
    equal = torch.tensor([[0.1] * 8])
    noise = (equal - equal.mean(-1, keepdim=True)) / (equal.std(-1, keepdim=True) + 1e-9)
    assert noise.abs().max() > 0.5, noise


def test_openrlhf_a_completion_that_fails_fails_its_group_and_no_other(agent):
    async def everything():
        failing = generate_responses(agent, "What?", [HALVES[0], None, HALVES[2], HALVES[3]])
        others = generate_responses(agent, "What?", HALVES)
        results = await asyncio.gather(failing, others, return_exceptions=True)
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return results, await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)

    (failed, others), rest = asyncio.run(everything())
    assert "the engine is gone" in str(failed)
    assert all(isinstance(result, Exception) for result in rest)
    assert [output["reward"] for output in others] == pytest.approx(expected(HALVES).advantages.tolist())


class ReadGenerator:
    """The attributes of SkyRL's `SkyRLGymGenerator` and of its output."""

    def __init__(self, generator_cfg, skyrl_gym_cfg, inference_engine_client, tokenizer, policy_model_name=None):
        self.tokenizer, self.client = tokenizer, inference_engine_client

    async def generate(self, input_batch, disable_tqdm=False):
        responses = [[*map(ord, text), 0] for text in self.client]
        return {
            "prompt_token_ids": [[1]] * len(responses),
            "response_ids": responses,
            "rewards": [[0.0] * len(ids) for ids in responses],
            "loss_masks": [[1] * len(ids) for ids in responses],
            "stop_reasons": ["stop"] * len(responses),
            "rollout_metrics": {"generate/avg": 1.0},
            "rollout_logprobs": None,
            "trajectory_ids": None,
        }


@pytest.fixture
def skyrl(monkeypatch):
    registered = {}
    registry = types.SimpleNamespace(register=registered.__setitem__)
    base = type("BaseTextEnv", (), {"__init__": lambda self: None})
    module(monkeypatch, "skyrl.backends.skyrl_train.utils.ppo_utils", AdvantageEstimatorRegistry=registry)
    module(monkeypatch, "skyrl.train.generators.skyrl_gym_generator", SkyRLGymGenerator=ReadGenerator)
    module(monkeypatch, "skyrl_gym.envs.base_text_env", BaseTextEnv=base, BaseTextEnvStepOutput=dict)
    code, _ = blocks("skyrl.md")
    namespace = {}
    exec(compile(code, "skyrl.md", "exec"), namespace)
    return namespace, registered


def skyrl_batch(groups, phase="train"):
    """The input of a generator, as `prepare_generator_input` makes it: uids repeat, one for each prompt."""
    sizes = [len(group) for group in groups]
    prompts = [[{"role": "user", "content": f"q{at}"}] for at, size in enumerate(sizes) for _ in range(size)]
    ids = [
        types.SimpleNamespace(instance_id=f"u{at}", repetition_id=number)
        for at, size in enumerate(sizes)
        for number in range(size)
    ]
    metadata = types.SimpleNamespace(global_step=1, training_phase=phase)
    return {"prompts": prompts, "trajectory_ids": ids, "batch_metadata": metadata}


def skyrl_generate(namespace, groups, phase="train"):
    texts = [text for group in groups for text in group]
    generator = namespace["EmpoGenerator"](None, None, texts, Tokenizer())
    try:
        return asyncio.run(generator.generate(skyrl_batch(groups, phase)))
    finally:
        generator.provider.close()


def test_skyrl_rewards_are_the_advantages_and_masks_of_rows_out_of_the_loss_are_empty(skyrl):
    namespace, registered = skyrl
    groups = [HALVES, AGREED, UNREADABLE]
    output = skyrl_generate(namespace, groups)
    decision = expected(*groups)
    assert output["rewards"] == pytest.approx(decision.advantages.tolist())
    assert [any(mask) for mask in output["loss_masks"]] == decision.loss_mask.tolist()
    assert all(len(mask) == len(ids) for mask, ids in zip(output["loss_masks"], output["response_ids"], strict=True))
    assert output["rollout_metrics"]["empo/keep_fraction"] == pytest.approx(2 / 3)
    assert output["rollout_metrics"]["generate/avg"] == 1.0
    # SkyRL writes a reward at the last token of its row, and calls the registered estimator by name
    longest = max(map(len, output["response_ids"]))
    rewards, mask = torch.zeros(len(output["rewards"]), longest), torch.zeros(len(output["rewards"]), longest)
    for row, (reward, ids) in enumerate(zip(output["rewards"], output["response_ids"], strict=True)):
        rewards[row, len(ids) - 1] = reward
        mask[row, : len(ids)] = 1
    advantages, _ = registered["empo"](
        token_level_rewards=rewards, response_mask=mask, index=["u"], values=None, config=None, gamma=1.0
    )
    assert (advantages.sum(-1) / mask.sum(-1)).tolist() == pytest.approx(decision.advantages.tolist(), abs=1e-6)
    deviations = [np.std(decision.advantages[decision.rows(at)]) for at in range(3)]
    assert [deviation > 0 for deviation in deviations] == decision.keep.tolist()  # the rule of dynamic sampling


def test_skyrl_an_evaluation_is_left_as_it_is_and_the_environment_gives_no_reward(skyrl):
    namespace, _ = skyrl
    output = skyrl_generate(namespace, [HALVES], phase="eval")
    assert output["rewards"] == [[0.0] * len(ids) for ids in output["response_ids"]]
    step = namespace["NoReward"](env_config={}, extras={}).step("text")
    assert (step["reward"], step["done"], step["observations"]) == (0.0, True, [])


def test_skyrl_itself_filters_the_groups_and_computes_the_advantages(monkeypatch):
    if find_spec("skyrl") is None:
        pytest.skip("SkyRL's source is not on the path (docs/empo/skyrl.md)")
    from skyrl.backends.skyrl_train.utils import ppo_utils
    from skyrl.train.dataset.preprocess import convert_prompts_responses_to_batch_tensors
    from skyrl.train.generators.skyrl_gym_generator import SkyRLGymGenerator
    from skyrl.train.generators.utils import prepare_generator_input
    from skyrl.train.trainer import RayPPOTrainer
    from skyrl.train.utils import trainer_utils

    for name in ("__init__", "generate"):
        monkeypatch.setattr(SkyRLGymGenerator, name, getattr(ReadGenerator, name))
    ppo_utils.AdvantageEstimatorRegistry._functions.pop("empo", None)
    namespace = {}
    exec(compile(blocks("skyrl.md")[0], "skyrl.md", "exec"), namespace)
    groups = [HALVES, AGREED, UNREADABLE[:4]]
    asked = [
        {"prompt": [{"role": "user", "content": "q"}], "env_class": None, "env_extras": {}, "uid": f"u{at}"}
        for at in range(3)
    ]
    batch, uids = prepare_generator_input(asked, 4, {}, "empo", "train", 1)
    generator = namespace["EmpoGenerator"](None, None, [text for group in groups for text in group], Tokenizer())
    output = asyncio.run(generator.generate(batch))
    generator.provider.close()
    trainer_utils.validate_generator_output(12, output)
    state = {"sample_batch_count": 1}
    sampling = {"type": "filter", "train_batch_size": 2, "n_samples_per_prompt": 4}
    output, uids, again, _ = trainer_utils.handle_dynamic_sampling(output, uids, sampling, state)
    assert (again, uids) == (False, ["u0"] * 4 + ["u2"] * 4)  # the dropped group has left the batch
    trainer = object.__new__(RayPPOTrainer)
    algorithm = types.SimpleNamespace(zero_variance_filter=False)
    generation = types.SimpleNamespace(
        step_wise_trajectories=False, merge_stepwise_output=False, n_samples_per_prompt=4
    )
    trainer.cfg = types.SimpleNamespace(trainer=types.SimpleNamespace(algorithm=algorithm), generator=generation)
    trainer.all_metrics = {}
    output, uids = trainer.postprocess_generator_output(output, uids)
    columns = [output[name] for name in ("prompt_token_ids", "response_ids", "rewards", "loss_masks")]
    _, _, mask, rewards, _, *_ = convert_prompts_responses_to_batch_tensors(0, *columns)
    advantages, _ = ppo_utils.compute_advantages_and_returns(rewards, mask, uids, adv_estimator="empo", config=None)
    decision = expected(HALVES, UNREADABLE[:4])
    assert (advantages.sum(-1) / mask.sum(-1)).tolist() == pytest.approx(decision.advantages.tolist(), abs=1e-6)


def test_skyrl_itself_makes_the_environment_from_the_class_and_registers_the_estimator_once():
    """An entry point "main_empo:NoReward" would import the file again, and `register` refuses a name that exists."""
    if find_spec("skyrl") is None or find_spec("skyrl_gym") is None:
        pytest.skip("SkyRL's source is not on the path (docs/empo/skyrl.md)")
    import skyrl_gym
    from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry

    first, entry = blocks("skyrl.md")
    (call,) = [line.strip() for line in entry.splitlines() if "register(id" in line]
    namespace = {"register": skyrl_gym.envs.register}
    AdvantageEstimatorRegistry._functions.pop("empo", None)
    exec(compile(first, "skyrl.md", "exec"), namespace)
    exec(call, namespace)
    try:
        environment = skyrl_gym.make("empo", env_config=None, extras={})
        assert environment.step("text")["reward"] == 0.0
        with pytest.raises(ValueError, match="'empo' already registered"):
            exec(compile(first, "skyrl.md", "exec"), {})
    finally:
        skyrl_gym.envs.deregister("empo")
        AdvantageEstimatorRegistry._functions.pop("empo", None)


def test_the_entry_point_of_skyrl_is_valid_python_and_names_the_classes_of_the_page():
    first, entry = blocks("skyrl.md")
    defined = {node.name for node in ast.walk(ast.parse(first)) if isinstance(node, ast.ClassDef)}
    named = {node.id for node in ast.walk(ast.parse(entry)) if isinstance(node, ast.Name)}
    assert {"EmpoGenerator", "NoReward"} <= defined & named
