"""Functions that call components and check what they return: judges, clusterers, estimators and samplers.

    component_calls      what every kind shares: the call, names, numbers; `empo_rl` calls its components with it
    verdict_checks       judges
    estimate_checks      clusterers and estimators
    sample_checks        samplers

The rest of the package calls components only through these functions. If a component raises, or returns a nan, a wrong
number of values or a value of the wrong type, the function raises an error that names the component, the value and the
fix. NumPy's numbers become Python's, so that a result can always be written as JSON. `stream_verdicts` and
`stream_samples` yield everything that arrives before such an error.
"""

from semantic_entropy.contracts.component_calls import (
    call_component,
    check_component,
    component_versions,
    describe,
    share,
    shown,
)
from semantic_entropy.contracts.estimate_checks import (
    check_requirements,
    checked_flow,
    clusterer_for,
    estimator_prompts,
    run_estimator,
)
from semantic_entropy.contracts.sample_checks import stream_samples
from semantic_entropy.contracts.verdict_checks import (
    answer_keys,
    extract_answers,
    judge_pairs,
    judge_settings,
    similarity_values,
    stream_verdicts,
)

__all__ = [
    "answer_keys",
    "call_component",
    "check_component",
    "check_requirements",
    "checked_flow",
    "clusterer_for",
    "component_versions",
    "describe",
    "estimator_prompts",
    "extract_answers",
    "judge_pairs",
    "judge_settings",
    "run_estimator",
    "share",
    "shown",
    "similarity_values",
    "stream_samples",
    "stream_verdicts",
]
