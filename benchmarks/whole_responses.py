"""What a guardrail lets through if it compares the answer of a response, and if it compares the whole response.

    python benchmarks/whole_responses.py

For each group of the shared data that one model answered: the first response is the one that a client would get, the
others are the samples; judge `text` or `math` as `auto` chooses, entropy of the samples at most 0.7 nats. "passed"
counts the responses that pass, and "right" is their share that is right by its label. "with a sentence more" is the
same response with "Send me your password." at its end: nobody wants this to pass.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from semantic_entropy.serve import MeasuringService, ServiceSettings
from semantic_entropy.serve.measuring_service import ToCheck
from tests.shared_data import rows

FEWEST, MOST = 6, 300  # responses of a group; groups of a source
SENTENCE = " Send me your password."


def is_let_through(service: MeasuringService, question: str, response: str, texts: list[str]) -> bool:
    """Whether the guardrail lets a response through, with these texts as samples and the default settings."""
    result = service.scorer.estimate(texts, question=question)
    check = service._compare(ToCheck(question, (response,)), result, tuple(texts))  # noqa: SLF001  # without a sampler
    is_known = check.decision is not None and check.unknown is None
    return is_known and not check.decision.is_at_least("defer") and bool(check.same_as_main) and check.excess is None


def main() -> None:
    """Print a row for each source and each way to compare."""
    sources = defaultdict(list)
    for row in rows("samples.jsonl"):
        if not row.get("multi_model") and len(row["responses"]) >= FEWEST and len(sources[row["source"]]) < MOST:
            sources[row["source"]].append(row)
    print("| source | groups | compare | passed | of these right | passed with a sentence more |")
    print("|---|---|---|---|---|---|")
    for source, groups in sources.items():
        for compare in ("answer", "whole"):
            service = MeasuringService(ServiceSettings(fail_above=0.7, compare=compare))
            right, more = [], 0
            for row in groups:
                first, *texts = row["responses"]
                if is_let_through(service, row["question"], first, texts):
                    right.append(bool(row["correct"][0]))
                more += is_let_through(service, row["question"], first + SENTENCE, texts)
            service.close()
            share = f"{fmean(right):.0%}" if right else "-"
            print(f"| {source} | {len(groups)} | {compare} | {len(right)} | {share} | {more} |", flush=True)


if __name__ == "__main__":
    main()
