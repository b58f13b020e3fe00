"""Initialisers: random, so what is checked is their distribution and their bounds.

No two frameworks draw the same numbers; all must draw from the same distribution. Its distribution
function F is known for each initialiser, and the empirical one of n independent draws lies within ε
of it but for a share δ of all experiments (Dvoretzky, Kiefer, Wolfowitz; the constant is Massart's):

    P(sup |F_n − F| > ε) ≤ 2 exp(−2 n ε²) = δ        ε = √(ln(2/δ) / (2 n))

for every n, with no table and no asymptotics. δ = `FALSE_ALARMS`. A bound that is left by one draw is
left for certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosscheck.comparison import Verdict
from crosscheck.errors import UsageError, unknown
from crosscheck.sampling import generator
from crosscheck.spec import Array, Shape
from crosscheck.versions import installed

#: How often a right initialiser is called wrong, at most.
FALSE_ALARMS = 1e-6
#: (out, in, height, width): pairwise distinct, so that no fan can be taken for another.
SHAPE = (48, 20, 3, 5)
_FAN_IN, _FAN_OUT = 20 * 15, 48 * 15

Draw = Callable[[Array, np.random.Generator], Any]
"""Fills an array; what it returns is ignored."""


@dataclass(frozen=True)
class Initializer:
    """What an initialiser draws from, and who draws.

    Attributes:
        name: torch.nn.init's.
        cdf: the distribution function, elementwise.
        low, high: the bounds of the values.
        arguments: by keyword, the same for reference_nn and torch.
        jax: from a key and a shape (…, in, out) to the values; None where jax has none.
        sample: from one drawn array to the numbers that are independent; all elements by default.
        shape: of one array.
        repeat: how many arrays are drawn.
    """

    name: str
    cdf: Callable[[Array], Array]
    low: float = -math.inf
    high: float = math.inf
    arguments: Mapping[str, Any] | None = None
    jax: Callable[[Any, Any, Shape], Any] | None = None
    sample: Callable[[Array], Array] = np.ravel
    shape: Shape = SHAPE
    repeat: int = 1


@dataclass(frozen=True)
class Fit:
    """How well draws fit.

    Attributes:
        witness: who drew.
        distance: the largest difference of the distribution functions.
        limit: what it may be.
        outside: how many values leave the bounds.
        count: how many were drawn.
    """

    witness: str
    distance: float
    limit: float
    outside: int
    count: int

    @property
    def verdict(self) -> Verdict:
        """Agree or disagree with the distribution."""
        fits = self.distance <= self.limit and not self.outside
        return Verdict.AGREE if fits else Verdict.DISAGREE

    def __str__(self) -> str:
        return (
            f"{self.witness}: distance {self.distance:.4f} of {self.limit:.4f} allowed, "
            f"{self.outside} of {self.count} values out of bounds"
        )


def check_initializer(
    name: str, draw: Draw | None = None, *, seed: int = 0, witnesses: tuple[str, ...] | None = None
) -> list[Fit]:
    """Draw from reference_nn (or somebody's own), torch and jax, and compare with the distribution.

    Args:
        name: an initialiser in `INITIALIZERS`.
        draw: ``draw(array, rng)`` fills a float64 array of torch's layout; reference_nn's by default.
        seed: names the draws.
        witnesses: of ``"torch"``, ``"jax"``; by default those installed.

    Returns:
        One `Fit` per witness, the subject's first.

    Raises:
        UsageError: no such initialiser.
    """
    if name not in INITIALIZERS:
        raise unknown("initialiser", name, INITIALIZERS)
    entry = INITIALIZERS[name]
    asked = ("torch", "jax") if witnesses is None else witnesses
    found = [fit(entry, "subject" if draw else "reference_nn", drawn(entry, draw, seed))]
    if "torch" in asked and installed("torch"):
        found.append(fit(entry, "torch", _torch(entry, seed)))
    if "jax" in asked and installed("jax") and entry.jax is not None:
        found.append(fit(entry, "jax", _jax(entry, seed)))
    return found


def fit(entry: Initializer, witness: str, arrays: list[Array]) -> Fit:
    """How well somebody's draws fit an initialiser's distribution."""
    values = np.sort(np.concatenate([np.atleast_1d(entry.sample(a)) for a in arrays]))
    if not np.isfinite(values).all():
        raise UsageError(f"{witness}: {entry.name} drew values that are not finite")
    n = len(values)
    f = entry.cdf(values)
    distance = max(float(np.max(np.arange(1, n + 1) / n - f)), float(np.max(f - np.arange(n) / n)))
    outside = int(np.count_nonzero((values < entry.low) | (values > entry.high)))
    return Fit(witness, distance, math.sqrt(math.log(2 / FALSE_ALARMS) / (2 * n)), outside, n)


def drawn(entry: Initializer, draw: Draw | None, seed: int) -> list[Array]:
    """The arrays that somebody's initialiser fills; reference_nn's if None."""
    import reference_nn

    rng = generator(seed, entry.name)
    arrays = []
    for _ in range(entry.repeat):
        array = np.full(entry.shape, np.nan)
        if draw is None:
            getattr(reference_nn, entry.name)(array, **(entry.arguments or {}), rng=rng)
        else:
            draw(array, rng)
        arrays.append(array)
    return arrays


def _torch(entry: Initializer, seed: int) -> list[Array]:
    import torch

    source = torch.Generator().manual_seed(seed)
    arrays = []
    for _ in range(entry.repeat):
        tensor = torch.empty(entry.shape, dtype=torch.float64)
        method = getattr(torch.nn.init, entry.name)
        method(tensor, **(entry.arguments or {}), generator=source)
        arrays.append(tensor.numpy())
    return arrays


def _jax(entry: Initializer, seed: int) -> list[Array]:
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    assert entry.jax is not None
    out, inner, *kernel = entry.shape
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        keys = jax.random.split(jax.random.key(seed), entry.repeat)
        shape = (*kernel, inner, out)
        if entry.repeat == 1:
            return [np.asarray(entry.jax(jax, keys[0], shape))]
        many = jax.vmap(lambda key: entry.jax(jax, key, shape))(keys)
        return [*np.asarray(many)]


# --- distribution functions -------------------------------------------------------------------


def _uniform(low: float, high: float) -> Callable[[Array], Array]:
    return lambda x: np.clip((x - low) / (high - low), 0, 1)


def _phi(x: Array) -> Array:
    """The standard normal distribution function."""
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.ravel(x)])


def _normal(mean: float, std: float) -> Callable[[Array], Array]:
    return lambda x: _phi((x - mean) / std)


def _truncated(mean: float, std: float, low: float, high: float) -> Callable[[Array], Array]:
    ends = _phi((np.array([low, high]) - mean) / std)
    return lambda x: np.clip((_phi((x - mean) / std) - ends[0]) / (ends[1] - ends[0]), 0, 1)


def _corner(array: Array) -> Array:
    """One element: those of one orthogonal matrix depend on each other."""
    return array[0, :1]


def _not_zero(array: Array) -> Array:
    return np.asarray(array[array != 0])


_XAVIER = math.sqrt(2 / (_FAN_IN + _FAN_OUT))
_KAIMING = math.sqrt(2 / _FAN_OUT)

INITIALIZERS: Mapping[str, Initializer] = {
    entry.name: entry
    for entry in (
        Initializer(
            "uniform_",
            _uniform(-0.3, 0.7),
            -0.3,
            0.7,
            {"a": -0.3, "b": 0.7},
            lambda jax, key, shape: jax.random.uniform(key, shape, minval=-0.3, maxval=0.7),
        ),
        Initializer(
            "normal_",
            _normal(0.4, 0.2),
            arguments={"mean": 0.4, "std": 0.2},
            jax=lambda jax, key, shape: 0.4 + jax.nn.initializers.normal(0.2)(key, shape),
        ),
        Initializer(
            "trunc_normal_",
            _truncated(0.1, 0.5, -0.6, 0.9),
            -0.6,
            0.9,
            {"mean": 0.1, "std": 0.5, "a": -0.6, "b": 0.9},
            # Its bounds are multiples of the standard deviation, around a mean of zero.
            lambda jax, key, shape: (
                0.1 + jax.nn.initializers.truncated_normal(0.5, lower=-1.4, upper=1.6)(key, shape)
            ),
        ),
        Initializer(
            "xavier_uniform_",
            _uniform(-1.5 * math.sqrt(3) * _XAVIER, 1.5 * math.sqrt(3) * _XAVIER),
            -1.5 * math.sqrt(3) * _XAVIER,
            1.5 * math.sqrt(3) * _XAVIER,
            {"gain": 1.5},
            lambda jax, key, shape: jax.nn.initializers.variance_scaling(
                1.5**2, "fan_avg", "uniform"
            )(key, shape),
        ),
        Initializer(
            "xavier_normal_",
            _normal(0.0, _XAVIER),
            arguments={},
            # glorot_normal, he_normal and lecun_normal are truncated in jax: not torch's.
            jax=lambda jax, key, shape: jax.nn.initializers.variance_scaling(
                1.0, "fan_avg", "normal"
            )(key, shape),
        ),
        Initializer(
            "kaiming_uniform_",
            _uniform(-math.sqrt(3) * _KAIMING, math.sqrt(3) * _KAIMING),
            -math.sqrt(3) * _KAIMING,
            math.sqrt(3) * _KAIMING,
            {"mode": "fan_out", "nonlinearity": "relu"},
            lambda jax, key, shape: jax.nn.initializers.variance_scaling(2.0, "fan_out", "uniform")(
                key, shape
            ),
        ),
        Initializer(
            "kaiming_normal_",
            _normal(0.0, 1 / math.sqrt(_FAN_IN)),
            arguments={"a": 1.0},
            jax=lambda jax, key, shape: jax.nn.initializers.variance_scaling(
                1.0, "fan_in", "normal"
            )(key, shape),
        ),
        Initializer(
            "orthogonal_",
            # A coordinate of a point drawn uniformly on the sphere in three dimensions is uniform.
            _uniform(-2.0, 2.0),
            -2.0 - 1e-12,
            2.0 + 1e-12,
            {"gain": 2.0},
            lambda jax, key, shape: jax.nn.initializers.orthogonal(2.0)(key, shape),
            sample=_corner,
            shape=(3, 3),
            repeat=4000,
        ),
        Initializer(
            "sparse_",
            _normal(0.0, 0.3),
            arguments={"sparsity": 0.4, "std": 0.3},
            sample=_not_zero,
            shape=(50, 400),
        ),
    )
}
