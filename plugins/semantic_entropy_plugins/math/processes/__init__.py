"""The worker processes of the math judge: `pool` starts them and sends tasks, and each of them runs `worker`."""
