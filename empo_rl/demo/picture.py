"""The picture of a run: semantic entropy falling, accuracy on held-out questions rising, over the training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl.demo.evaluation import Evaluation

_ENTROPY, _GREEDY, _SAMPLED = "#c0392b", "#1f618d", "#5dade2"


def draw(path: Path, metrics: Sequence[Mapping[str, Any]], evaluations: Mapping[int, Evaluation], title: str) -> None:
    """Two panels over the same steps. `evaluations` has the base model at step 0."""
    import matplotlib as mpl

    mpl.use("Agg")  # no screen
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    steps = sorted(evaluations)
    held_out = [evaluations[step] for step in steps]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 6), layout="constrained")
    figure.suptitle(title)
    trained = [(row["step"], row["empo/entropy"]) for row in metrics if row.get("empo/entropy") is not None]
    above.plot(*zip(*trained, strict=True), color=_ENTROPY, alpha=0.35, label="training groups, every step")
    above.plot(steps, [e.semantic_entropy for e in held_out], "o-", color=_ENTROPY, label="held-out questions")
    above.set_ylabel("semantic entropy (nats)")
    below.plot(steps, [e.pass_at_1 for e in held_out], "o-", color=_GREEDY, label="pass@1, greedy")
    below.plot(steps, [e.mean_at_8 for e in held_out], "s--", color=_SAMPLED, label="mean@8, temperature 1")
    below.set_ylabel("accuracy, held-out questions")
    below.set_ylim(0, 1)
    below.set_xlabel("training step")
    below.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    above.set_ylim(bottom=0)
    for panel in (above, below):
        panel.grid(alpha=0.25)
        panel.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
