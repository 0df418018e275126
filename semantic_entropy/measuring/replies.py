"""Ask a model prompts: those of estimators, such as "is this answer true?", and those for claims.

The prompts go to the sampler that the user's sampler makes for them (`Sampler.prompt_sampler`), each distinct prompt
once. The user's sample store keeps the replies. A prompt that is refused, or too long for the model, has a failure in
place of a reply. If the server failed, the call ends with an error: a run that is repeated asks for what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from semantic_entropy.contracts import call_component, describe, estimator_prompts, shown
from semantic_entropy.errors import PluginError, SamplingError
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.sampling import SampleMemory, Sampler, SamplingRun
from semantic_entropy.types import Evidence, Sample, SampleFailure, Usage

Reply: TypeAlias = Sample | SampleFailure


@dataclass(slots=True)
class Interviewer:
    """Asks the user's sampler prompts.

    Attributes:
        sampler: the user's sampler.
        store: keeps the replies; None: they are not kept.
        by: the description of the sampler that replied; None: nothing was asked yet.
    """

    sampler: Sampler
    store: SampleMemory | None = None
    by: str | None = None
    _prompt_sampler: Sampler | None = field(default=None, repr=False)

    def ask(
        self, estimators: Sequence[EntropyEstimator], evidences: Sequence[Evidence]
    ) -> list[tuple[Evidence, Usage | None]]:
        """Return the evidence with the replies, and the cost of those that this group was the first to need.

        Raises:
            SamplingError: the sampler cannot ask prompts, or the server failed. Replies that arrived are in the store.
        """
        prompts = [
            [prompt for estimator in estimators for prompt in estimator_prompts(estimator, evidence)]
            if evidence.labels
            else []
            for evidence in evidences
        ]
        distinct = list(dict.fromkeys(prompt for own in prompts for prompt in own))
        replies = self.replies(distinct) if distinct else {}
        paid: set[str] = set()
        found = []
        for evidence, own in zip(evidences, prompts, strict=True):
            new = [usage for prompt in dict.fromkeys(own) if prompt not in paid and (usage := replies[prompt].usage)]
            paid.update(own)
            found.append((replace(evidence, replies={p: replies[p] for p in own}), sum(new, Usage()) if new else None))
        return found

    def replies(self, prompts: Sequence[str]) -> dict[str, Reply]:
        """Return the reply to each of these distinct prompts. Raises the errors of `ask`."""
        if self._prompt_sampler is None:
            what = f"sampler {self.sampler.name!r}"
            made = call_component(what, self.sampler.prompt_sampler, during="prompt_sampler()")
            if not isinstance(made, Sampler):
                raise PluginError(f"{what}: prompt_sampler() returned {shown(made)}; return a Sampler")
            self._prompt_sampler, self.by = made, describe("sampler", made)
        run = SamplingRun(self._prompt_sampler, 1, self.store)
        replies: dict[str, Reply] = {}
        for sampled in run.groups(prompts):
            failure = sampled.failure or SampleFailure("there is no reply")
            replies[sampled.question] = sampled.samples[0] if sampled.samples else failure
        failed = [reply for reply in replies.values() if isinstance(reply, SampleFailure) and reply.transient]
        if failed:
            raise SamplingError(
                f"{len(failed)} of {len(prompts)} prompts have no reply: {failed[0].reason}. Ask again "
                "later; with samples=FILE, the other replies are kept"
            )
        return replies
