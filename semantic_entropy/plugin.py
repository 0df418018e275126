"""All names that the author of a plugin imports.

A plugin has two files. The first file has the class (`my_judge/soundex.py`):

    from semantic_entropy.plugin import Equivalence, Verdict

    class Soundex(Equivalence):
        name = "soundex"

        def judge(self, pairs):
            return [Verdict(code(pair.left) == code(pair.right)) for pair in pairs]

The second file is a light module with the hooks (`my_judge/__init__.py`), which registers the class. The package of the
plugin has an entry point in the group `semantic_entropy` that names this module, `my-judge = "my_judge"`:

    from semantic_entropy.plugin import Component, hookimpl

    def load():
        from my_judge.soundex import Soundex   # import the heavy module only when the judge is used
        return Soundex

    @hookimpl
    def semantic_entropy_equivalences():
        return [Component("soundex", load, "equal Soundex codes mean the same")]

`semantic_entropy.testing` has the checks that your component should pass. Each component class has an attribute
`rules`, the version of its rules, which is 1: raise it when the same settings and input can give another result. Stored
verdicts, samples and runs of the older rules are then not used again.
"""

from semantic_entropy import errors
from semantic_entropy.cache import LRUCache
from semantic_entropy.cache.identity import class_identity
from semantic_entropy.clusters.answers import boxed, load_extractor, strip_reasoning
from semantic_entropy.clusters.answers import number as last_number
from semantic_entropy.clusters.clusterers import Clusterer, Components, Flow, LastMatch, Representative
from semantic_entropy.clusters.equivalence import (
    POLICIES,
    Equivalence,
    FunctionEquivalence,
    Policy,
    combine_directions,
    needs_reverse,
)
from semantic_entropy.clusters.refusals import is_refusal
from semantic_entropy.contracts import call_component, stream_verdicts
from semantic_entropy.estimators import (
    Discrete,
    EntropyEstimator,
    Likelihood,
    Majority,
    NumSets,
    Predictive,
)
from semantic_entropy.measuring.sentences import split_sentences
from semantic_entropy.plain_text import has_surrogate, replace_surrogates
from semantic_entropy.progress import is_cancelled, is_stopped
from semantic_entropy.registry import Component, MovedKind, Registry, hookimpl, load_equivalence, require_equivalences
from semantic_entropy.sampling import Request, SampleFailure, Sampler
from semantic_entropy.types import Estimate, Evidence, Extractor, GroupPair, Pair, Sample, Usage, Verdict

__all__ = [
    "POLICIES",
    "Clusterer",
    "Component",
    "Components",
    "Discrete",
    "EntropyEstimator",
    "Equivalence",
    "Estimate",
    "Evidence",
    "Extractor",
    "Flow",
    "FunctionEquivalence",
    "GroupPair",
    "LRUCache",
    "LastMatch",
    "Likelihood",
    "Majority",
    "MovedKind",
    "NumSets",
    "Pair",
    "Policy",
    "Predictive",
    "Registry",
    "Representative",
    "Request",
    "Sample",
    "SampleFailure",
    "Sampler",
    "Usage",
    "Verdict",
    "boxed",
    "call_component",
    "class_identity",
    "combine_directions",
    "errors",
    "has_surrogate",
    "hookimpl",
    "is_cancelled",
    "is_refusal",
    "is_stopped",
    "last_number",
    "load_equivalence",
    "load_extractor",
    "needs_reverse",
    "replace_surrogates",
    "require_equivalences",
    "split_sentences",
    "stream_verdicts",
    "strip_reasoning",
]
