"""What the tests of the verl adapter share: verl's real configuration, a real TransferQueue on Ray, and its rows."""

import json
import os
import uuid
import warnings
from contextlib import contextmanager

import torch

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
QUEUE = {
    "enable": True,
    "backend": {
        "storage_backend": "SimpleStorage",
        "SimpleStorage": {"total_storage_size": 10_000, "num_data_storage_units": 1},
    },
}
PROVIDER = {"equivalence": "exact", "extract": "boxed"}


def answers(*values):
    """Completions with these answers in boxes; an empty text has no answer."""
    return [rf"\boxed{{{value}}}" if value else "I cannot tell." for value in values]


def verl_config(*overrides, provider=None):
    """verl's own configuration `ppo_trainer`, composed by Hydra, for the mode `empo` on one GPU."""
    from hydra import compose, initialize_config_module

    text = json.dumps(PROVIDER if provider is None else provider)
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            overrides=[
                "algorithm.adv_estimator=grpo",
                "trainer.v1.trainer_mode=empo",
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.rollout.n=4",
                "actor_rollout_ref.actor.ppo_mini_batch_size=2",
                "data.train_batch_size=4",
                "data.max_response_length=64",
                f"+empo.provider='{text}'",
                *overrides,
            ],
        )


@contextmanager
def queue():
    """A TransferQueue in a Ray instance of this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        import transfer_queue as tq
        from omegaconf import OmegaConf

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            tq.init(OmegaConf.create(QUEUE))
            yield tq
            tq.close()
        finally:
            ray.shutdown()


class Tokenizer:
    """One token for each character, and an end token."""

    eos_token_id = pad_token_id = 0

    def encode(self, text):
        return [ord(character) for character in text] + [0]

    def decode(self, tokens, *, skip_special_tokens):
        assert skip_special_tokens
        return "".join(chr(token) for token in tokens if token)


def put_group(completions, *, status="finished", question="What is it?", gold=None, truncated=None, extra=None):
    """Write a prompt and its completions as verl's agent loop does, and return the uid.

    truncated: whether a completion has no end token, for each of them.
    extra: more of `extra_info`, the columns of the data that verl passes on.
    """
    import transfer_queue as tq
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    uid = uuid.uuid4().hex
    keys, rows, tags = [], [], []
    for session, completion in enumerate(completions):
        tokens = Tokenizer().encode(completion)
        responses = torch.tensor(tokens[:-1] if truncated and truncated[session] else tokens, dtype=torch.int64)
        prompts = torch.tensor(Tokenizer().encode(question), dtype=torch.int64)
        ids = torch.cat([prompts, responses])
        mask = torch.ones_like(responses)
        length = len(ids)
        keys.append(f"{uid}_{session}_0")
        rows.append(
            {
                "uid": uid,
                "prompts": prompts,
                "responses": responses,
                "response_mask": mask,
                "loss_mask": mask,
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "position_ids": torch.arange(length),
                "rm_scores": torch.zeros(len(responses)),
                "old_log_probs": torch.full((len(responses),), -1.0),
                "num_turns": 2,
                "raw_prompt": [{"role": "user", "content": question}],
                "extra_info": {"index": 0, **(extra or {})},
                "reward_model": {"style": "rule", "ground_truth": gold or ""},
            }
        )
        steps = {"global_steps": 1, "min_global_steps": 0, "max_global_steps": 0}
        tags.append({"status": "success", "prompt_len": len(prompts), "response_len": len(responses), **steps})
        tags[-1]["seq_len"] = length
    if keys:
        tq.kv_batch_put(keys=keys, partition_id="train", fields=list_of_dict_to_tensordict(rows), tags=tags)
    prompt = {"is_prompt": True, "status": status, "global_steps": 1}
    tq.kv_batch_put(keys=[uid], partition_id="train", tags=[prompt])
    return uid


class Workers:
    """What verl's trainer asks its actor group on one machine: the number of data-parallel ranks, and an update."""

    def __init__(self, ranks=1):
        self._dispatch_info = {"actor": list(range(ranks))}
        self.updates = 0

    def update_actor(self, batch):
        self.updates += 1
        return {"metrics": {"mfu": [0.0], "pg_loss": [0.0]}}


def make_trainer(*overrides, provider=None, ranks=1):
    """The real trainer, without the processes that `init` starts."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    trainer = get_trainer_cls("empo")(verl_config(*overrides, provider=provider))
    trainer.tokenizer = Tokenizer()
    trainer.global_steps = 1
    trainer.actor_rollout_wg = Workers(ranks)
    return trainer
