"""The errors that this package raises on purpose.

    SemanticEntropyError
    ├── InputError (ValueError)          an argument cannot be used; the message names value and fix
    │   ├── EvidenceError                an estimator needs evidence (token log-probabilities, ...) that is missing
    │   └── OptionError                  a component has no such option, or rejects its value
    ├── UnknownComponentError (LookupError)   no component has this name; the message lists the existing names
    ├── AmbiguousComponentError (LookupError) two plugins offer the name; the message lists the full names
    ├── PluginError                      a plugin is installed but cannot be loaded, or breaks its contract
    ├── MissingDependencyError (ImportError)  a dependency is missing; the message has the command
    ├── EquivalenceError                 a judge broke its contract, or its model or server is not available
    └── SamplingError                    a sampler's model or server is not available, or refuses the requests

A response without an answer and a pair that the judge cannot decide are not errors. The `Result` counts them as invalid
answers and undecided pairs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SemanticEntropyError(Exception):
    """Base class: `except SemanticEntropyError` catches every error that this package raises on purpose."""


class InputError(SemanticEntropyError, ValueError):
    """An argument cannot be used."""


class EvidenceError(InputError):
    """An estimator needs evidence that the group does not have."""


class OptionError(InputError):
    """A component has no such option, or rejects its value."""


class UnknownComponentError(SemanticEntropyError, LookupError):
    """No component of that kind has this name."""


class AmbiguousComponentError(SemanticEntropyError, LookupError):
    """Two plugins offer the same name."""


class PluginError(SemanticEntropyError):
    """A plugin is installed but cannot be loaded, or its component breaks its contract."""


class MissingDependencyError(SemanticEntropyError, ImportError):
    """An optional dependency is missing."""


class EquivalenceError(SemanticEntropyError):
    """A judge broke its contract, or its model or server is not available."""


class SamplingError(SemanticEntropyError):
    """A sampler's model or server is not available, or refuses the requests."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest choice, to append to a message; empty if no choice is close.

    Upper and lower case are equal, so 'STEPS' is close to 'steps'.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""
