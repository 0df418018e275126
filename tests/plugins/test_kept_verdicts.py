"""Verdicts of the judges that are models, in the cache file: found again by another scorer, as by another process."""

from __future__ import annotations

import pytest

from semantic_entropy import Scorer, load_equivalence
from tests.plugins.tiny_models import ANSWERS, QUESTION, tiny_causal_lm, tiny_nli


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"nli": str(tiny_nli(folder / "nli")), "verifier": str(tiny_causal_lm(folder / "verifier"))}


def loaded(which, models):
    if which != "cascade":
        return load_equivalence(which, model=models[which], device="cpu")
    stages = [{"judge": name, "options": {"model": model, "device": "cpu"}} for name, model in models.items()]
    return load_equivalence("cascade", judges=["exact", *stages])


@pytest.mark.parametrize("which", ["nli", "verifier", "cascade"])
def test_a_second_run_asks_a_model_nothing_that_the_file_holds(which, models, tmp_path):
    said = []
    for _ in range(2):
        judge = loaded(which, models)
        with Scorer(judge, cache=tmp_path / "verdicts.sqlite") as scorer:
            how = scorer.estimate(list(ANSWERS), question=QUESTION).provenance
            said.append((how.asked, how.cached, str(scorer.cache).partition(": ")[2]))
        judge.close()
    asked = said[0][0]
    assert asked > 0
    assert said == [
        (asked, 0, f"0 verdicts found, {asked} added"),
        (0, asked, f"{asked} verdicts found, 0 added"),
    ]
