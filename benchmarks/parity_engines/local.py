"""The reference of `parity.py`: one provider, in one process, on all groups of a case."""

from collections.abc import Sequence

from parity_engines.cases import Case, Ran, rollouts, rows_of, run

from empo_rl import EmpoProvider


def decide(cases: Sequence[Case]) -> Ran:
    """Decide about each case with `EmpoProvider.step`."""
    found = {}
    for case in cases:
        with EmpoProvider(**case.provider) as provider:
            found[case.name] = rows_of(provider.step(rollouts(case.groups)))
    return Ran("one process", found)


if __name__ == "__main__":
    run(decide)
