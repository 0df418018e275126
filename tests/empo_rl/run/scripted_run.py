"""`empo-train tiny OVERRIDES` with fixed completions, for `ForkedRuns`.

The completions depend on the step and the prompt alone, so every strategy and number of processes trains on the same
tokens. The judge runs a language model of its own on each pair, so two processes call it an unequal number of times.
accelerate shards on GPUs only: for FSDP2, this script pretends that the device is a GPU. Sharding, gathering and
checkpoints are those of torch, accelerate and DeepSpeed, with gloo. With KILL_WHILE_SAVING=N each process kills itself
with SIGKILL when its part of checkpoint N is written and `trainer_state.json` is not. observed-RANK.json in the output
directory has what each process saw.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path
from unittest import mock

import accelerate.state
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import AutoModelForCausalLM, Trainer

import semantic_entropy
from empo_rl.cli import main as empo_train
from empo_rl.config.schema import Config
from empo_rl.run import launch, train
from empo_rl.trainers.trl.grpo_trainer import EmpoGRPOTrainer
from semantic_entropy.plugin import Equivalence, Verdict

G = 4
observed = {}


def argument(name):
    return next(word for word in sys.argv if word.startswith(f"{name}=")).removeprefix(f"{name}=")


def generate(self, prompt_ids, *args, **kwargs):
    """The completions of one process: a digit of 0, 1, 2, repeated as often as the prompt says."""
    first = PartialState().process_index * len(prompt_ids)
    return [completion(self, ids, (first + row) % G) for row, ids in enumerate(prompt_ids)], None


def completion(trainer, prompt, place):
    length = random.Random(f"{list(prompt)}").randint(2, 5)
    digit = random.Random(f"{trainer.state.global_step} {list(prompt)} {place}").choice("012")
    return [*trainer.processing_class.convert_tokens_to_ids([digit] * length), trainer.processing_class.eos_token_id]


class ModelJudge(Equivalence):
    """Equal answers mean the same; a model writes two tokens about each pair of others."""

    def __init__(self):
        self.model = AutoModelForCausalLM.from_pretrained(argument("model"))
        observed["weights of the judge"] = sum(weight.numel() for weight in self.model.parameters())

    def judge(self, pairs):
        for _ in pairs:
            self.model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=2, do_sample=False)
        observed["pairs"] = observed.get("pairs", 0) + len(pairs)
        return [Verdict(pair.left == pair.right) for pair in pairs]


def pretend_gpu(made=accelerate.state.AcceleratorState.__init__):
    def init(self, *args, **kwargs):
        if PartialState._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        made(self, *args, **kwargs)
        assert self.distributed_type == DistributedType.FSDP, self.distributed_type

    accelerate.state.AcceleratorState.__init__ = init


def start_deepspeed(join=train.join_process_group):
    """On a GPU, accelerate tells DeepSpeed about the process group. On the CPU it does not."""
    import deepspeed

    def join_and_tell(config):
        state = join(config)
        deepspeed.init_distributed("gloo", auto_mpi_discovery=False)
        return state

    train.join_process_group = join_and_tell


def observe_loading(load=train.load_model, download=train.download_model):
    """Record in which order the processes download, and which processes read the weights."""

    def recorded_download(config):
        with Path(argument("output_dir")).with_name("downloads").open("a") as file:
            print("begin", PartialState().process_index, file=file, flush=True)
            download(config)
            print("end", PartialState().process_index, file=file, flush=True)

    def recorded_load(config):
        with mock.patch.object(
            AutoModelForCausalLM, "from_pretrained", wraps=AutoModelForCausalLM.from_pretrained
        ) as read:
            model = load(config)
        observed["read the weights"] = read.called
        observed["sharded by DeepSpeed"] = hasattr(next(model.parameters()), "ds_id")
        return model

    train.load_model, train.download_model = recorded_load, recorded_download


def kill_while_saving(step, save=Trainer._save_rng_state):
    def save_and_die(self, folder):
        save(self, folder)
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer._save_rng_state = save_and_die


def observe_timeouts(leave=launch.leave_process_group):
    def recorded_leave():
        groups = torch.distributed.distributed_c10d._world.pg_map
        backends = [group._get_backend(torch.device("cpu")) for group in groups]
        observed["timeouts"] = [backend.options._timeout.total_seconds() for backend in backends]
        leave()

    launch.leave_process_group = recorded_leave


def main():
    torch.set_num_threads(1)
    semantic_entropy.register("equivalence", "model-judge", ModelJudge)
    EmpoGRPOTrainer._generate_single_turn = generate
    Config._launch_problems = lambda self: []  # among them that accelerate shards on GPUs only
    if "launch.strategy=fsdp2" in sys.argv:
        pretend_gpu()
    if "launch.strategy=zero3" in sys.argv:
        start_deepspeed()
    observe_loading()
    if "KILL_WHILE_SAVING" in os.environ:
        kill_while_saving(int(os.environ["KILL_WHILE_SAVING"]))
    observe_timeouts()
    empo_train(["tiny", "empo.equivalence=model-judge", *sys.argv[1:]], standalone_mode=False)
    observation = Path(argument("output_dir")) / f"observed-{PartialState().process_index}.json"
    observation.write_text(json.dumps(observed))
