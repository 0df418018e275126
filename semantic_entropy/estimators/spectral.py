"""Estimators from eigenvalues: of a graph that similarities connect, and of the covariance of embeddings.

    W   (G, G)  the mean of both directions of the similarity, diagonal 1; D = diag(sum_j W_ij)
    L   (G, G)  I - D^-1/2 W D^-1/2, with the eigenvalues l_k

    eigv        sum_k max(0, 1 - l_k)                              Lin et al. 2024; 1 to G
    deg         sum_i (G - D_ii) / G^2                             Lin et al. 2024; 0 to 1 - 1/G
    ecc         norm of the centred eigenvectors with l_k < 0.9    Lin et al. 2024
    d_ue        sum_k max(0, Re m_k), m_k the eigenvalues of D^-1 S, S the directed similarity
                                                                   Da et al. 2024 (arXiv 2407.00994), 1 to G
    kle         von Neumann entropy of a kernel of D - W, W the sum of both directions, divided by ln G; 0 to 1
                heat: exp(-t (D - W)), Matern: (2 nu / kappa^2 I + D - W)^-nu
                                                                   Nikitin et al. 2024
    eigenscore  mean_k ln l_k, l_k the eigenvalues of the covariance + alpha I
                                                                   Chen et al. 2024 (INSIDE)

Not supported: claims that are added to the responses (Da et al.), and the kernel KLE-full, which mixes the heat kernel
with the clusters of semantic entropy (Nikitin et al.). Shapes: G responses, d dimensions.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.base import EntropyEstimator, name_with_options
from semantic_entropy.types import Estimate, Evidence

_Array = NDArray[np.float64]
_ECCENTRICITY_THRESHOLD = 0.9  # of the original code; larger eigenvalues belong to noise
_HEAT_TIME = 0.3  # of the paper
_LARGEST = 1e9  # larger options of kernels overflow
_ALPHA = 1e-3  # of the paper: the covariance of G < d vectors, or of equal vectors, has eigenvalues of 0


class EigV(EntropyEstimator):
    """The sum of the eigenvalues of the similarity graph: a continuous number of clusters.

    It is M if the similarities are 1 inside of M clusters and 0 between them. One response: 1.
    """

    name = "eigv"
    requires = frozenset({"similarity"})

    def estimate(self, evidence: Evidence) -> Estimate:
        affinities = np.linalg.eigvalsh(_normalized_affinity(_mean_of_directions(evidence)))  # 1 - l_k
        return Estimate(float(np.maximum(affinities, 0.0).sum()))


class Deg(EntropyEstimator):
    """The mean dissimilarity of all pairs of responses, each response and itself included. One response: 0.

    Args:
        divisor: "n^2" divides by G^2, as the paper and lm-polygraph; "n" divides by G, as the code of the paper.

    Raises:
        InputError: the divisor is unknown.
    """

    name = "deg"
    requires = frozenset({"similarity"})

    def __init__(self, divisor: Literal["n^2", "n"] = "n^2") -> None:
        if divisor not in ("n^2", "n"):
            raise InputError(f"divisor={divisor!r} of the estimator 'deg' is unknown: use 'n^2' or 'n'")
        self.divisor = divisor

    def describe(self) -> str:
        return name_with_options(self.name, divisor=(self.divisor, "n^2"))

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.similarity is not None  # `check` ensures it
        n = len(evidence.similarity)
        dissimilar = n * n - math.fsum([value for row in evidence.similarity for value in row])
        return Estimate(dissimilar / (n * n if self.divisor == "n^2" else n))


class Ecc(EntropyEstimator):
    """The distance of the responses from their centre, in the space of the graph's smallest eigenvectors.

    Equal responses, or one response: 0. The number of eigenvectors depends on the threshold, so the value jumps where
    an eigenvalue crosses it.

    Args:
        threshold: eigenvectors with a smaller eigenvalue count.

    Raises:
        InputError: the threshold is not in (0, 2], the range of the eigenvalues.
    """

    name = "ecc"
    requires = frozenset({"similarity"})

    def __init__(self, threshold: float = _ECCENTRICITY_THRESHOLD) -> None:
        if not 0 < threshold <= 2:  # the largest eigenvalue of a normalised Laplacian
            raise InputError(f"threshold={threshold!r} of the estimator 'ecc' must be in (0, 2]")
        self.threshold = threshold

    def describe(self) -> str:
        return name_with_options(self.name, threshold=(self.threshold, _ECCENTRICITY_THRESHOLD))

    def estimate(self, evidence: Evidence) -> Estimate:
        affinities, vectors = np.linalg.eigh(_normalized_affinity(_mean_of_directions(evidence)))
        kept = vectors[:, 1 - affinities < self.threshold]
        return Estimate(float(np.linalg.norm(kept - kept.mean(axis=0))))


class DUE(EntropyEstimator):
    """Directed uncertainty evaluation: `eigv` of a random walk, for similarities with a direction.

    From response i, the walk goes to response j with the probability s_ij / sum_k s_ik. Its random-walk Laplacian
    I - D^-1 S has the eigenvalues 1 - m_k, which can be complex; their real part counts. If the similarity is
    symmetric, this is `eigv`. One response: 1.
    """

    name = "d_ue"
    requires = frozenset({"similarity"})

    def estimate(self, evidence: Evidence) -> Estimate:
        directed = np.asarray(evidence.similarity, dtype=np.float64)
        walk = directed / directed.sum(axis=1, keepdims=True)  # the diagonal is 1, so no sum is 0
        return Estimate(float(np.maximum(np.linalg.eigvals(walk).real, 0.0).sum()))


class KLE(EntropyEstimator):
    """Kernel language entropy: how far each response spreads over a graph of similar responses.

    Equal responses: 0.67 for G = 3, 0.42 for 5, 0.07 for 10 with the heat kernel, because the kernel of a complete
    graph decays with t G; the Matern kernel decays more slowly. Compare only groups of equal size. One response: nan if
    `normalized`, because ln 1 = 0.

    Args:
        t: the time of the heat kernel. A larger time makes the responses more similar.
        kernel: "heat" or "matern".
        nu: the smoothness of the Matern kernel. With kappa = sqrt(2 t), a large nu gives the heat kernel.
        kappa: the length scale of the Matern kernel. A larger one makes the responses more similar.
        normalized: divide by ln G, so that the entropy of G unrelated responses is 1. If not, the entropy is in nats.

    Raises:
        InputError: t, nu or kappa is not a positive number, or belongs to the other kernel.
    """

    name = "kle"
    requires = frozenset({"similarity"})

    def __init__(
        self,
        t: float = _HEAT_TIME,
        *,
        kernel: Literal["heat", "matern"] = "heat",
        nu: float = 1.0,
        kappa: float = 1.0,
        normalized: bool = True,
    ) -> None:
        if kernel not in ("heat", "matern"):
            raise InputError(f"kernel={kernel!r} of the estimator 'kle' is unknown: use 'heat' or 'matern'")
        options = {"t": (t, _HEAT_TIME, "heat"), "nu": (nu, 1.0, "matern"), "kappa": (kappa, 1.0, "matern")}
        for name, (value, default, owner) in options.items():
            if not 0 < value <= _LARGEST:
                raise InputError(f"{name}={value!r} of the estimator 'kle' must be a positive number up to {_LARGEST}")
            if value != default and kernel != owner:
                raise InputError(
                    f"{name}={value!r} of the estimator 'kle' is for kernel={owner!r}, and it is {kernel!r}"
                )
        self.t, self.kernel, self.nu, self.kappa = t, kernel, nu, kappa
        self.normalized = normalized

    def describe(self) -> str:
        return name_with_options(
            self.name,
            t=(self.t, _HEAT_TIME),
            kernel=(self.kernel, "heat"),
            nu=(self.nu, 1.0),
            kappa=(self.kappa, 1.0),
            normalized=(self.normalized, True),
        )

    def estimate(self, evidence: Evidence) -> Estimate:
        graph = 2 * _mean_of_directions(evidence)
        n = len(graph)
        if n == 1:
            return Estimate(math.nan if self.normalized else 0.0)
        values, vectors = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
        kernel = (vectors * self._spectrum(np.maximum(values, 0.0))) @ vectors.T
        root = np.sqrt(np.diag(kernel))
        shares = np.linalg.eigvalsh(kernel / np.outer(root, root) / n)  # the trace is 1
        shares = shares[shares > 0]  # rounding makes some of them -1e-17
        entropy = max(0.0, -float((shares * np.log(shares)).sum()))
        return Estimate(min(1.0, entropy / math.log(n)) if self.normalized else entropy)

    def _spectrum(self, laplacian: _Array) -> _Array:
        """The eigenvalues of the kernel, up to a factor, from the eigenvalues of the Laplacian."""
        if self.kernel == "heat":
            return np.exp(-self.t * laplacian)
        spectrum: _Array = (1 + laplacian * (self.kappa**2 / (2 * self.nu))) ** -self.nu
        return spectrum


class EigenScore(EntropyEstimator):
    """The mean log-eigenvalue of the covariance of the responses' hidden states or embeddings.

    Equal responses have the smallest value: near ln(alpha), apart from one eigenvalue. It depends on the scale of the
    vectors: compare only values from one model and layer.

    Args:
        alpha: added to each eigenvalue.
        vectors: "hidden_state" (of the sampling model, as in the paper) or "embeddings" (of any model). None: the
            hidden states if they are known, else the embeddings.

    Raises:
        InputError: an option is out of range.
    """

    name = "eigenscore"
    uses = frozenset({"hidden_state", "embeddings"})

    def __init__(self, alpha: float = _ALPHA, vectors: Literal["hidden_state", "embeddings"] | None = None) -> None:
        if not 0 < alpha < math.inf:
            raise InputError(f"alpha={alpha!r} of the estimator 'eigenscore' must be a positive number")
        if vectors not in {None, *self.uses}:
            raise InputError(
                f"vectors={vectors!r} of the estimator 'eigenscore' is unknown: use 'hidden_state' or 'embeddings'"
            )
        self.alpha = alpha
        self.vectors = vectors

    def describe(self) -> str:
        return name_with_options(self.name, alpha=(self.alpha, _ALPHA), vectors=(self.vectors, None))

    def check(self, evidence: Evidence) -> None:
        if self._vectors(evidence) is None:
            needed = self.vectors or "hidden_state or embeddings"
            raise EvidenceError(
                f"estimator 'eigenscore' needs {needed}, one list of d numbers for each response, and there are none: "
                f"pass {self.vectors or 'hidden_state'}=, shape (G, d)"
            )

    def estimate(self, evidence: Evidence) -> Estimate:
        vectors = np.asarray(self._vectors(evidence), dtype=np.float64)
        centred = vectors - vectors.mean(axis=1, keepdims=True)  # as in the paper: over the dimensions
        # The covariance is the square of `centred`: singular values have no rounding errors below 0.
        squares = np.zeros(len(vectors))
        singular = np.linalg.svd(centred, compute_uv=False)
        squares[: len(singular)] = singular**2
        return Estimate(float(np.log(squares + self.alpha).mean()))

    def _vectors(self, evidence: Evidence) -> tuple[tuple[float, ...], ...] | None:
        if self.vectors is None:
            return evidence.hidden_state or evidence.embeddings
        return evidence.hidden_state if self.vectors == "hidden_state" else evidence.embeddings


def _mean_of_directions(evidence: Evidence) -> _Array:
    """(G, G), symmetric."""
    similarity = np.asarray(evidence.similarity, dtype=np.float64)
    return (similarity + similarity.T) / 2


def _normalized_affinity(similarity: _Array) -> _Array:
    """D^-1/2 W D^-1/2, whose eigenvalues are 1 - l_k. The diagonal of W is 1, so no degree is 0."""
    root = 1 / np.sqrt(similarity.sum(axis=1))
    return similarity * np.outer(root, root)
