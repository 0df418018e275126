"""The errors that this package raises on purpose.

    SemanticEntropyError
    ├── InputError (ValueError)          an argument cannot be used: names the value and the fix
    │   ├── EvidenceError                an estimator needs evidence (token log-probabilities, ...) that is missing
    │   └── OptionError                  a component has no such option, or rejects its value
    ├── UnknownComponentError (LookupError)   no component of that name: lists those that exist and those that failed
    ├── AmbiguousComponentError (LookupError) two plugins offer the name: lists `distribution/name` to choose from
    ├── PluginError                      a plugin exists but could not be loaded
    ├── MissingDependencyError (ImportError)  an optional dependency is missing: names what to install
    ├── EquivalenceError                 a judge broke its contract, or its model or server is not available
    └── SamplingError                    a sampler's model or server is not available, or refuses

A response that cannot be judged is not an error: it is data (an invalid answer, an undecided verdict), counted in the
`Result`.
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
    """A plugin is installed but cannot be loaded."""


class MissingDependencyError(SemanticEntropyError, ImportError):
    """An optional dependency is missing."""


class EquivalenceError(SemanticEntropyError):
    """A judge broke its contract, or its model or server is not available."""


class SamplingError(SemanticEntropyError):
    """A sampler's model or server is not available, or refuses."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest choice, or an empty string: the tail of an error message."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
