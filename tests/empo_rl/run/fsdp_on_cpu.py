"""Run by torchrun: `empo-train` under FSDP2 on CPUs, which accelerate itself allows on GPUs alone.

The device's kind is all that is pretended: sharding, gathering and checkpoints are torch's and accelerate's own, by
gloo. First two steps, then on from the checkpoint.
"""

import os
import sys

import accelerate.state
from accelerate import PartialState
from accelerate.utils import DistributedType

from empo_rl.cli import main
from empo_rl.config.schema import Config

made = accelerate.state.AcceleratorState.__init__


def pretend(self, *args, **kwargs):
    if PartialState._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    made(self, *args, **kwargs)
    assert self.distributed_type in (DistributedType.FSDP, DistributedType.MULTI_GPU), self.distributed_type


accelerate.state.AcceleratorState.__init__ = pretend
Config._launch_problems = lambda self: []  # that of the CPU among them
arguments = [*sys.argv[1:], "launch.strategy=fsdp2"]
main([*arguments, "training.steps=2"], standalone_mode=False)
main([*arguments, "--resume"], standalone_mode=False)
PartialState().destroy_process_group()
sys.stdout.flush()
os._exit(0)  # now and then one of gloo's threads aborts a process that ends in the usual way
