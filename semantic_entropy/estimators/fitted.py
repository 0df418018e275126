"""Estimators that are fitted on labelled answers: logistic regression, kept in a readable JSON file.

    probe   sigmoid(b + w . (h - mean) / scale), h: a hidden state (d,)        Kossen et al., arXiv 2406.15927
    wepr    the same, of 2 k features of the answer                            Moslonka et al., arXiv 2509.04492, Eq. 8

The features of `wepr`, for each rank j = 1..k: the mean and the largest, over the tokens of the answer, of -p_j ln p_j
in nats, where p_j is the probability of the j-th most probable alternative of a token.

`fit_probe` and `fit_wepr` write the file, and need scikit-learn. The estimators read it, and need only numpy. They give
the probability that the answer is wrong. A probe with target="entropy" gives the probability that the semantic entropy
is above a threshold. It costs less than the entropy, because it needs one answer.

The regression has standardised features and an L2 penalty. The strength of the penalty is the one with the smallest
cross-validated log-loss. The code of the WEPR paper has neither: with 2 k features of the same 15 alternatives, or with
more dimensions than answers, an unpenalised regression fits the noise. `wepr` also reads a file of weights of that code
(artefactual), such as `{"intercept": -2.6, "coefficients": {"mean_rank_1": 0.1, "max_rank_1": 9.8}}`.

Left out: which layer and token a hidden state comes from. It must be the same when the probe is fitted and used.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semantic_entropy.errors import (
    EvidenceError,
    InputError,
    MissingDependencyError,
    OptionError,
    install_command,
)
from semantic_entropy.estimators.tokens import RANKS, AnswerEstimator, entropy_contributions
from semantic_entropy.files import replacement
from semantic_entropy.plain_text import show_value
from semantic_entropy.types import Estimate, Evidence

Target = Literal["wrong", "entropy"]
_FORMAT = "semantic-entropy fitted estimator, version 1"
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the penalty, as scikit-learn's C: smaller numbers penalise more
_FOLDS = 5
_FEWEST = 2 * _FOLDS  # of each label: each fold and each fold of its training part has at least one
_SEED = 0
_LARGEST = 1e60  # of the numbers in a file: products with hidden states up to 1e150 do not overflow
_COEFFICIENT = re.compile(r"(mean|max)_rank_(?P<rank>[1-9][0-9]{0,2})")  # of a file of artefactual
_ROUNDING = 1e-3  # low-precision logits round to log-probabilities slightly above 0


@dataclass(frozen=True, slots=True)
class FittedRegression:
    """A logistic regression on d features, as its JSON file has it.

    Attributes:
        estimator: the name of the estimator that reads the file.
        target: the event whose probability it gives: "wrong", or "entropy" for a semantic entropy above `threshold`.
        convention: how the labels were made, in the words of the user.
        n: the number of labelled answers.
        positives: the number of these with the event.
        auroc: the area under the ROC curve on answers that were left out, by nested 5-fold cross-validation.
        penalty: scikit-learn's C of the L2 penalty.
        threshold: in nats, if the target is "entropy".
        intercept: the intercept b.
        weights: (d,) of the standardised features.
        mean: (d,) subtracted from the features.
        scale: (d,) divides the features.
    """

    estimator: str
    target: str
    convention: str
    n: int
    positives: int
    auroc: float | None
    penalty: float | None
    threshold: float | None
    intercept: float
    weights: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def probability(self, features: Sequence[float] | NDArray[np.float64]) -> float:
        """Return the probability of the event for features (d,)."""
        standardised = (np.asarray(features) - np.array(self.mean)) / np.array(self.scale)
        score = self.intercept + math.fsum(standardised * np.array(self.weights))
        return 0.5 * (1 + math.tanh(score / 2))  # exp of a large number would overflow

    def write(self, file: str | PathLike[str]) -> None:
        """Write the JSON file. An existing file is replaced when the new one is complete."""
        with replacement(Path(file)) as temporary:
            temporary.write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, text: str, file: str, estimator: str) -> Self:
        """Read the text of a file. Raise OptionError if it is not a file of this estimator."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise OptionError(f"{estimator}: {file} is not JSON ({error})") from None
        if isinstance(fields, dict) and isinstance(fields.get("coefficients"), dict) and estimator == "wepr":
            fields = _of_artefactual(fields, file)
        if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
            raise OptionError(
                f"{estimator}: {file} is not the file of a fitted estimator: fit_{estimator}() writes one"
            )
        if fields.get("estimator") != estimator:
            raise OptionError(f"{estimator}: {file} was fitted for the estimator {fields.get('estimator')!r}")
        lists = _checked_lists(fields, f"{estimator}: {file}")
        if estimator == "wepr" and len(lists["weights"]) % 2:
            raise OptionError(f"wepr: {file} has {len(lists['weights'])} weights; there are two for each rank")
        try:
            return cls(**{**fields, **lists})
        except TypeError as error:
            raise OptionError(f"{estimator}: {file} has other fields: {error}") from None


def _checked_lists(fields: Mapping[str, Any], what: str) -> dict[str, tuple[float, ...]]:
    """Return weights, mean and scale as floats. `what` begins the error."""
    if fields.get("target") not in get_args(Target):
        raise OptionError(f"{what}: target is {show_value(fields.get('target'))}, not wrong or entropy")
    lists = {name: fields.get(name) for name in ("weights", "mean", "scale")}
    size = len(lists["weights"]) if isinstance(lists["weights"], list) else 0
    for name, values in {**lists, "intercept": [fields.get("intercept")] * size}.items():
        if not isinstance(values, list) or len(values) != size or not size or not all(map(_is_usable, values)):
            wanted = "a number" if name == "intercept" else f"{size or 'a list of'} numbers"
            raise OptionError(f"{what}: {name} is {show_value(fields.get(name))}, not {wanted}")
    if min(fields["scale"]) <= 1 / _LARGEST:
        raise OptionError(f"{what}: scale holds {min(fields['scale'])}; each number is above 0")
    return {name: tuple(map(float, values or ())) for name, values in lists.items()}


def _is_usable(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _of_artefactual(fields: Mapping[str, Any], file: str) -> dict[str, Any]:
    coefficients = fields["coefficients"]
    names = {name: _COEFFICIENT.fullmatch(name) for name in coefficients}
    if unknown := [name for name, match in names.items() if match is None]:
        raise OptionError(f"wepr: {file} has a coefficient {unknown[0]!r:.80}; they are mean_rank_1, max_rank_1, ...")
    k = max((int(match["rank"]) for match in names.values() if match), default=0)
    weights = [coefficients.get(f"{kind}_rank_{j}", 0.0) for kind in ("mean", "max") for j in range(1, k + 1)]
    known = dict.fromkeys(("auroc", "penalty", "threshold"))
    rest = {"estimator": "wepr", "target": "wrong", "convention": "artefactual", "n": 0, "positives": 0}
    ones = {"mean": [0.0] * len(weights), "scale": [1.0] * len(weights)}
    return {"format": _FORMAT, **rest, **known, **ones, "weights": weights, "intercept": fields.get("intercept")}


class _FittedEstimator(AnswerEstimator):
    """Base class of both: the file, and the probability. Implement `features` and `size`.

    Without a greedy answer, the features are the means over the responses.
    """

    def __init__(self, file: str | None = None) -> None:
        if file is None:
            raise OptionError(
                f"{self.name} needs file=, a JSON file that semantic_entropy.estimators.fitted.fit_{self.name} writes "
                "from labelled answers"
            )
        path = Path(file)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"{self.name}: file={str(file)!r} cannot be read: {error}") from None
        self.model = FittedRegression.read(text, str(file), self.name)
        self.is_probability = self.model.target == "wrong"  # not if it is the probability of a high entropy
        self._description = f"{self.name}(file={path.name!r}, sha256={hashlib.sha256(text.encode()).hexdigest()[:8]})"

    def describe(self) -> str:
        return self._description

    def features(self, values: Any) -> NDArray[np.float64]:
        """Return the features (d,) of one answer."""
        return np.array(values, dtype=float)

    def score_answer(self, values: Any) -> float:
        return self.model.probability(self.features(values))

    def estimate(self, evidence: Evidence) -> Estimate:
        features = [self.features(values) for _, values in self._answers(evidence)]
        return Estimate(self.model.probability(_mean(features)))


class Probe(_FittedEstimator):
    """The probability that the answer is wrong (or its entropy high), from a hidden state of the model.

    Args:
        file: a file that `fit_probe` wrote.
    """

    name = "probe"
    reads = "hidden_state"
    uses = frozenset({"hidden_state", "greedy"})

    def check_answer(self, values: Sequence[float], place: str) -> None:
        if len(values) != len(self.model.weights):
            raise EvidenceError(
                f"estimator 'probe': the hidden state of {place} has {len(values)} numbers, and the probe was fitted "
                f"on {len(self.model.weights)}: use hidden states of the same model and layer"
            )


class WEPR(_FittedEstimator):
    """Weighted entropy production rate: the probability that the answer is wrong, from its top log-probabilities.

    Args:
        file: a file that `fit_wepr` wrote, or a file of weights of artefactual.
    """

    name = "wepr"
    reads = "top_logprobs"
    uses = frozenset({"top_logprobs", "greedy"})

    def check_answer(self, values: Sequence[Sequence[float]], place: str) -> None:
        k, known = len(self.model.weights) // 2, max(map(len, values))
        if known < k:
            raise EvidenceError(
                f"estimator 'wepr': {place} has {known} alternatives for each token in top_logprobs, and the weights "
                f"were fitted on {k}: pass as many"
            )

    def features(self, values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        return wepr_features(values, len(self.model.weights) // 2)


def wepr_features(answer: Sequence[Sequence[float]], k: int = RANKS) -> NDArray[np.float64]:
    """Return the features (2 k,) of an answer with top log-probabilities (T, at least k): k means, then k maxima."""
    shares = np.zeros((len(answer), k))
    for row, token in zip(shares, answer, strict=True):
        known = entropy_contributions(token, k)
        row[: len(known)] = known
    return np.concatenate([shares.mean(axis=0), shares.max(axis=0)])


def fit_probe(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[bool] | Sequence[float],
    file: str | PathLike[str],
    *,
    target: Target = "wrong",
    convention: str = "default",
) -> FittedRegression:
    """Fit a probe on hidden states, and write it to a file for `load_estimator("probe", file=...)`.

    Args:
        rows: (N,) mappings with `greedy`, which has a `hidden_state` (d,), or with `hidden_state` (G, d).
        labels: (N,) whether the answer is wrong; if the target is "entropy", the semantic entropies in nats. Entropies
            are split at the threshold that makes the two parts most equal inside (least squares), as Kossen et al. do.
        file: the file to write.
        target: what the probe predicts.
        convention: how the labels were made, for readers of the file: the convention of the entropies.

    Raises:
        InputError: there are too few labels of a kind, or they are no labels.
        EvidenceError: a row has no hidden state, or one of another length.
        MissingDependencyError: scikit-learn is missing.
    """
    features = [_mean([np.array(state) for state in _read(row, i, "hidden_state")]) for i, row in enumerate(rows)]
    for i, state in enumerate(features):
        if len(state) != len(features[0]):
            raise EvidenceError(
                f"the hidden state of row {i} has {len(state)} numbers, and that of row 0 has {len(features[0])}"
            )
    return _fit("probe", features, labels, file, target, convention)


def fit_wepr(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[bool],
    file: str | PathLike[str],
    *,
    k: int = RANKS,
    convention: str = "default",
) -> FittedRegression:
    """Fit the weights of `wepr`, and write them to a file for `load_estimator("wepr", file=...)`.

    Args:
        rows: (N,) mappings with `greedy`, which has `top_logprobs` (T, k), or with `top_logprobs` (G, T, k).
        labels: (N,) whether the answer is wrong.
        file: the file to write.
        k: the number of alternatives of each token; fewer if the rows have fewer.
        convention: how the labels were made, for readers of the file.

    Raises:
        InputError: there are too few labels of a kind, or they are no labels.
        EvidenceError: a row has no top log-probabilities.
        MissingDependencyError: scikit-learn is missing.
    """
    answers = [_read(row, i, "top_logprobs") for i, row in enumerate(rows)]
    known = min((max(map(len, values)) for group in answers for values in group), default=k)
    if min(k, known) < 2:
        raise EvidenceError(f"wepr needs at least 2 alternatives for each token, and an answer has {min(k, known)}")
    features = [_mean([wepr_features(values, min(k, known)) for values in group]) for group in answers]
    return _fit("wepr", features, labels, file, "wrong", convention)


def _mean(features: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean (d,). The order of the answers does not change its last digits."""
    return np.array([math.fsum(column) for column in np.transpose(features)]) / len(features)


def _read(row: Mapping[str, Any], i: int, name: str) -> list[Any]:
    """Return what the scored answers of a row have of a field: of the greedy answer, else of each response.

    The values of one answer are (d,), or ragged (T, k) log-probabilities, as lists of floats.
    """
    greedy = row.get("greedy")
    values = row.get(name) if greedy is None else [_field(greedy, name)]
    if not isinstance(values, list | tuple) or not values or any(each is None or not len(each) for each in values):
        raise EvidenceError(f"row {i} has no {name}: each row needs greedy with {name}, or {name} for each response")
    try:
        if name == "hidden_state":
            answers: list[Any] = [list(map(float, state)) for state in values]
            valid = all(math.isfinite(number) for state in answers for number in state)
        else:
            answers = [[list(map(float, token)) for token in answer] for answer in values]
            valid = all(number <= _ROUNDING for answer in answers for token in answer for number in token)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        kind = "finite numbers" if name == "hidden_state" else "log-probabilities of the alternatives of each token"
        raise EvidenceError(f"{name} of row {i} is {show_value(values)}; it has {kind} for each answer")
    return answers


def _field(greedy: Any, name: str) -> Any:
    return greedy.get(name) if isinstance(greedy, Mapping) else getattr(greedy, name, None)


def _fit(
    estimator: str,
    features: Sequence[NDArray[np.float64]],
    labels: ArrayLike,
    file: str | PathLike[str],
    target: Target,
    convention: str,
) -> FittedRegression:
    event, threshold = _events(labels, len(features), target)
    counts = [int(event.sum()), int((~event).sum())]
    if min(counts) < _FEWEST:
        kinds = ("wrong and right answers", "high and low entropies")[target == "entropy"]
        raise InputError(
            f"{estimator}: {counts[0]} and {counts[1]} {kinds} are too few to fit on: at least {_FEWEST} of each"
        )
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        command = install_command("semantic-entropy[stats]")
        raise MissingDependencyError(f"fitting {estimator} needs scikit-learn: {command}") from error
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED)
    steps = Pipeline([("scale", StandardScaler()), ("regression", LogisticRegression(max_iter=5000))])
    search = GridSearchCV(steps, {"regression__C": list(_STRENGTHS)}, scoring="neg_log_loss", cv=folds)
    table = np.array(features)
    left_out = cross_val_predict(search, table, event, cv=folds, method="predict_proba")[:, 1]
    search.fit(table, event)
    scaler, regression = search.best_estimator_["scale"], search.best_estimator_["regression"]
    model = FittedRegression(
        estimator=estimator,
        target=target,
        convention=convention,
        n=len(event),
        positives=counts[0],
        auroc=round(float(roc_auc_score(event, left_out)), 4),
        penalty=float(search.best_params_["regression__C"]),
        threshold=threshold,
        intercept=float(regression.intercept_[0]),
        weights=tuple(map(float, regression.coef_[0])),
        mean=tuple(map(float, scaler.mean_)),
        scale=tuple(map(float, scaler.scale_)),
    )
    model.write(file)
    return model


def _events(labels: ArrayLike, n: int, target: Target) -> tuple[NDArray[np.bool_], float | None]:
    """Return the events (n,), and the threshold of entropies."""
    if target not in ("wrong", "entropy"):
        raise InputError(f"target={target!r} is unknown: use 'wrong' or 'entropy'")
    try:
        values = np.array(labels, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"labels={show_value(labels)} are not numbers") from None
    if values.shape != (n,):
        raise InputError(f"there are {values.size} labels for {n} rows: pass one for each")
    wanted = "finite numbers of at least 0 (nats)" if target == "entropy" else "True (wrong) or False (right)"
    valid = np.isfinite(values) & (values >= 0) if target == "entropy" else (values == 0) | (values == 1)
    if not valid.all():
        at = int(np.argmin(valid))
        raise InputError(f"label {at} is {values[at]}; labels are {wanted}: leave out the rows without a label")
    if target == "wrong":
        return values == 1, None
    threshold = best_split(values)
    return values > threshold, threshold


def best_split(entropies: NDArray[np.float64]) -> float:
    """Return the threshold that minimises the squared distances to the means of the values above and below it.

    Source: Kossen et al., arXiv 2406.15927, section 4.
    """
    distinct = np.unique(entropies)
    if len(distinct) < 2:
        raise InputError("all entropies are equal: nothing to fit")
    middles = (distinct[1:] + distinct[:-1]) / 2
    parts = [(entropies[entropies <= middle], entropies[entropies > middle]) for middle in middles]
    return float(middles[int(np.argmin([low.var() * len(low) + high.var() * len(high) for low, high in parts]))])
