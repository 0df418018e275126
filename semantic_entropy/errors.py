"""Every error this package raises on purpose.

    SemanticEntropyError
    ├── InputError (ValueError)          a value handed in cannot be used: names the value and the fix
    │   ├── EvidenceError                an estimator needs evidence (token log-probabilities, ...) that is missing
    │   └── OptionError                  a component was given an option it does not have, or a wrong value for it
    ├── UnknownComponentError (LookupError)   no component of that name: lists those that exist and those that failed
    ├── AmbiguousComponentError (LookupError) two plugins offer the name: lists `distribution/name` to choose from
    ├── PluginError                      a plugin exists but could not be loaded
    ├── MissingDependencyError (ImportError)  an optional dependency is absent: names the extra that brings it
    ├── EquivalenceError                 a judge cannot judge: it broke its contract, or its model or server is away
    └── SamplingError                    a sampler cannot sample: its model or server is away, or refuses

A response that cannot be judged is not an error: it is data (an invalid answer, an undecided verdict), counted in the
`Result`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SemanticEntropyError(Exception):
    """Root of the tree: `except SemanticEntropyError` catches all that this package raises on purpose."""


class InputError(SemanticEntropyError, ValueError):
    """A value handed in cannot be used."""


class EvidenceError(InputError):
    """An estimator needs evidence that the group does not carry."""


class OptionError(InputError):
    """A component has no such option, or refuses its value."""


class UnknownComponentError(SemanticEntropyError, LookupError):
    """No component of that kind has this name."""


class AmbiguousComponentError(SemanticEntropyError, LookupError):
    """Two plugins offer the same name."""


class PluginError(SemanticEntropyError):
    """A plugin is there but cannot be loaded."""


class MissingDependencyError(SemanticEntropyError, ImportError):
    """An optional dependency is absent."""


class EquivalenceError(SemanticEntropyError):
    """A judge cannot judge."""


class SamplingError(SemanticEntropyError):
    """A sampler cannot sample."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest choice, or an empty string: the tail of an error message."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
