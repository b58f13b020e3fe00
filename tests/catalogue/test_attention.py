"""Attention and the encoder layer: mistakes people make, JAX's libraries, masks, refusals."""

import math
from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.checking import check_cases
from crosscheck.sampling import cases, option_sets
from reference_nn.attention import ScaledDotProductAttention

quick = partial(crosscheck.check, dtypes=("float64",))
NAMES = ("ScaledDotProductAttention", "MultiheadAttention", "TransformerEncoderLayer")


def first_case(name, options=None):
    return next(cases(crosscheck.catalogue[name], options=options or {}, dtypes=("float64",)))


# --- every combination of options -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_options_agrees(torch, name):
    """With PyTorch, whose convention is given up where a query sees nothing; see the ledger."""
    layer = crosscheck.catalogue[name]
    own = [o for o in option_sets(layer, 0) if o.get("convention") != "jax"]
    first = [next(cases(layer, options=options)) for options in own]
    report = check_cases(layer, first, against=("torch", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("convention", ["torch", "jax"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ScaledDotProductAttention", {"mask": "empty rows"}),
        ("MultiheadAttention", {"mask": "all padding", "need_weights": False}),
    ],
)
def test_a_query_that_sees_nothing_follows_either_framework(torch, x64, name, options, convention):
    case = first_case(name, {**options, "convention": convention})
    report = check_cases(case.problem.layer, [case])
    assert report.verdict is Verdict.AGREE, str(report)
    verdicts = {
        c.right: c.verdict
        for c in report.comparisons
        if c.left == report.subject and c.quantity == "output"
    }
    other = {"torch": "jax", "jax": "torch"}[convention]
    assert verdicts[convention] is Verdict.AGREE and verdicts[other] is Verdict.DISAGREE
    assert {c.known for c in report.comparisons if c.known} <= {
        "attention-to-nothing",
        "multihead-attention-to-nothing",
    }


# --- mistakes ---------------------------------------------------------------------------------


class NotScaled(ScaledDotProductAttention):
    """1/√dim is missing, before and after: only a framework can see it."""

    def _alpha(self, query):
        return 1.0


class ScaledForwardOnly(ScaledDotProductAttention):
    """1/√dim is missing in the backward pass."""

    def gradients(self, query, *rest):
        grad_query, grad_key, *others = super().gradients(query, *rest)
        alpha = self._alpha(query)
        return grad_query / alpha, grad_key / alpha, *others


class Elementwise(ScaledDotProductAttention):
    """The softmax's gradient as p (1 − p)."""

    def gradients(self, query, key, value, weights, grad_output):
        p, _ = weights
        *_, grad_value, _ = super().gradients(query, key, value, weights, grad_output)
        grad_scores = p * (1 - p) * (grad_output @ value.swapaxes(-1, -2))
        alpha = self._alpha(query)
        grad_key = alpha * grad_scores.swapaxes(-1, -2) @ query
        return alpha * grad_scores @ key, grad_key, grad_value, grad_scores


class SoftmaxOverQueries(ScaledDotProductAttention):
    """Along the wrong axis."""

    def forward(self, query, key, value):
        scores = self._alpha(query) * key @ query.swapaxes(-1, -2)
        return nn.Softmax(-1).forward(scores).swapaxes(-1, -2) @ value


class MaskForgottenInBackward(ScaledDotProductAttention):
    def backward(self, query, key, value, mask, grad_output):
        return super().backward(query, key, value, grad_output)


class MaskInverted(ScaledDotProductAttention):
    """True = ignore, as MultiheadAttention has it."""

    def forward(self, query, key, value, mask):
        return super().forward(query, key, value, ~mask)


class MaskAfterSoftmax(ScaledDotProductAttention):
    """The weights are cut, and no longer sum to 1."""

    def forward(self, query, key, value, mask):
        weights, _ = self.weights(query, key)
        return (weights * mask) @ value


class Overflows(ScaledDotProductAttention):
    """No largest score is subtracted."""

    def forward(self, query, key, value):
        e = np.exp(self._alpha(query) * query @ key.swapaxes(-1, -2))
        return e / e.sum(axis=-1, keepdims=True) @ value


class HeadsNotPutBack(nn.MultiheadAttention):
    """reshape where transpose is needed."""

    def _join(self, heads):
        return heads.reshape(-1, self.embed_dim)


class QueryForKey(nn.MultiheadAttention):
    """The maps of keys and queries in each other's place."""

    def _maps(self):
        q, k, v = super()._maps()
        return [k, q, v]


class ScaledByTheWholeWidth(nn.MultiheadAttention):
    """1/√embed_dim in place of 1/√head_dim."""

    def __init__(self, embed_dim, num_heads):
        super().__init__(embed_dim, num_heads)
        self.attention.scale = 1 / math.sqrt(embed_dim)


class WeightsHaveNoGradient(nn.MultiheadAttention):
    def backward(self, query, key, value, grad_output, grad_weights):
        return super().backward(query, key, value, grad_output, np.zeros_like(grad_weights))


class ValuesOnly(nn.TransformerEncoderLayer):
    """Self-attention's gradient as that of the values alone."""

    def _attend_backward(self, z, masks, grad):
        self.self_attn.need_weights = False
        return self.self_attn.backward(z, z, z, *masks, grad)[2]


class NoWayRound(nn.TransformerEncoderLayer):
    """The gradient of the sums does not go round the branches."""

    def backward(self, src, grad_output):
        grad = super().backward(src, grad_output)
        first = src + self._attend(src, (None, None))
        u = self.norm1.forward(first)
        second = self.norm2.backward(u + self._feed(u), grad_output)
        through = self._feed_backward(u, second)
        super().backward(src, grad_output)  # the parameters' gradients again
        return grad - self.norm1.backward(first, second + through)


class NormAfterTheBranch(nn.TransformerEncoderLayer):
    """x + N(A(x)): neither first nor last."""

    def forward(self, src):
        u = src + self.norm1.forward(self._attend(src, (None, None)))
        return u + self.norm2.forward(self._feed(u))


SDPA, MHA, ENCODER = NAMES
MISTAKES = [
    (SDPA, NotScaled, {}, "forward-wrong", "output"),
    (SDPA, ScaledForwardOnly, {}, "backward-wrong", "grad_query"),
    (SDPA, Elementwise, {}, "backward-wrong", "grad_key"),
    (SDPA, SoftmaxOverQueries, {}, "forward-wrong", "output"),
    (SDPA, MaskForgottenInBackward, {"mask": "boolean"}, "backward-wrong", "grad_value"),
    (SDPA, MaskInverted, {"mask": "boolean"}, "forward-wrong", "output"),
    (SDPA, MaskAfterSoftmax, {"mask": "boolean"}, "forward-wrong", "output"),
    (SDPA, Overflows, {}, "non-finite", "output"),
    (MHA, HeadsNotPutBack, {}, "forward-wrong", "output"),
    (MHA, QueryForKey, {}, "forward-wrong", "output"),
    (MHA, ScaledByTheWholeWidth, {}, "forward-wrong", "weights"),
    (MHA, WeightsHaveNoGradient, {}, "backward-wrong", "grad_in_proj_weight"),
    (ENCODER, ValuesOnly, {}, "backward-wrong", "grad_src"),
    (ENCODER, NoWayRound, {}, "backward-wrong", "grad_src"),
    (ENCODER, NormAfterTheBranch, {}, "forward-wrong", "output"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(torch, name, wrong, options, code, quantity):
    report = quick(name, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_a_missing_scale_cannot_be_seen_by_differences_alone(torch):
    """Its gradient is that of its own forward."""
    report = quick("ScaledDotProductAttention", NotScaled, options={}, against=("numeric",))
    assert report.verdict is Verdict.AGREE


# --- JAX's libraries --------------------------------------------------------------------------


def flax_attention(linen, heads, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias):
    """PyTorch's arrays in flax's layer: kernels (embed, heads, dim) and (heads, dim, embed)."""
    import jax.numpy as jnp

    embed = out_proj_weight.shape[0]
    layer = linen.MultiHeadDotProductAttention(heads, param_dtype=np.float64)
    maps = zip(jnp.split(in_proj_weight, 3), jnp.split(in_proj_bias, 3), strict=True)
    given = {
        name: {"kernel": w.T.reshape(embed, heads, -1), "bias": b.reshape(heads, -1)}
        for name, (w, b) in zip(("query", "key", "value"), maps, strict=True)
    }
    out = {"kernel": out_proj_weight.T.reshape(heads, -1, embed), "bias": out_proj_bias}
    return lambda *inputs, **masks: layer.apply({"params": {**given, "out": out}}, *inputs, **masks)


def test_flax_multihead_attention(linen):
    options = {"batch_first": True, "need_weights": False, "mask": "attention"}
    case = first_case("MultiheadAttention", options)

    def attend(query, key, value, key_padding_mask, attn_mask, **parameters):
        layer = flax_attention(linen, case.problem.heads, **parameters)
        return layer(query, key, value, mask=~attn_mask[None, None])

    report = check_cases(case.problem.layer, [case], attend, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_equinox_multihead_attention(eqx):
    """A layer of single samples, whose biases are an option; boolean masks are True = keep."""
    options = {"batch_first": True, "need_weights": False, "mask": "padding"}
    case = first_case("MultiheadAttention", options)
    heads = case.problem.heads

    def attend(query, key, value, key_padding_mask, attn_mask, **parameters):
        import jax
        import jax.numpy as jnp

        embed = query.shape[-1]
        on = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        layer = eqx.nn.MultiheadAttention(heads, embed, key=jax.random.key(0), **on)
        weights = [*jnp.split(parameters["in_proj_weight"], 3), parameters["out_proj_weight"]]
        biases = [*jnp.split(parameters["in_proj_bias"], 3), parameters["out_proj_bias"]]
        maps = lambda m: [m.query_proj, m.key_proj, m.value_proj, m.output_proj]  # noqa: E731
        layer = eqx.tree_at(lambda m: [p.weight for p in maps(m)], layer, weights)
        layer = eqx.tree_at(lambda m: [p.bias for p in maps(m)], layer, biases)

        def one(q, k, v, ignored):
            return layer(q, k, v, mask=jnp.broadcast_to(~ignored, (len(q), len(k))))

        return jax.vmap(one)(query, key, value, key_padding_mask)

    report = check_cases(case.problem.layer, [case], attend, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_an_encoder_layer_made_of_flax(linen):
    """flax has no such layer: this is how one is put together of what it has."""
    options = {"batch_first": True, "norm_first": True, "activation": "gelu"}
    case = first_case("TransformerEncoderLayer", options)

    def encode(src, **given):
        own = {k.removeprefix("self_attn."): v for k, v in given.items() if k.startswith("self_")}
        attend = flax_attention(linen, case.problem.nhead, **own)

        def norm(name, x):
            parameters = {"scale": given[f"{name}.weights"], "bias": given[f"{name}.bias"]}
            layer = linen.LayerNorm(epsilon=1e-5, param_dtype=np.float64)
            return layer.apply({"params": parameters}, x)

        def dense(name, x):
            parameters = {"kernel": given[f"{name}.weights"], "bias": given[f"{name}.bias"]}
            layer = linen.Dense(parameters["bias"].shape[0], param_dtype=np.float64)
            return layer.apply({"params": parameters}, x)

        u = src + attend(norm("norm1", src))
        hidden = linen.gelu(dense("linear1", norm("norm2", u)), approximate=False)
        return u + dense("linear2", hidden)

    report = check_cases(case.problem.layer, [case], encode, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_jax_itself_agrees_up_to_float32(x64):
    """jax.nn.dot_product_attention takes its softmax in float32, whatever it is given."""
    case = first_case("ScaledDotProductAttention", {"is_causal": True})

    def attend(query, key, value):
        import jax
        import jax.numpy as jnp

        swapped = [jnp.swapaxes(a, 1, 2) for a in (query, key, key)]
        output = jax.nn.dot_product_attention(*swapped, is_causal=True)
        return jnp.swapaxes(output, 1, 2)

    arrays = case.arrays()
    query, key = arrays["query"], arrays["key"]
    ours = nn.ScaledDotProductAttention(is_causal=True).forward(query, key, key)
    theirs = np.asarray(attend(query, key, key))
    assert 1e-10 < np.abs(ours - theirs).max() < 1e-6


def test_the_ledger_says_what_flax_does(linen):
    """LayerNorm's eps and the GELU of the encoder layer, where flax is built on jax.nn."""
    from crosscheck.families.transformer import _ROW

    ledger = crosscheck.ledger()
    layer = linen.LayerNorm(use_bias=False, use_scale=False, dtype=np.float64)
    expected = ledger["transformer-norm-eps"].measure()[1]
    np.testing.assert_allclose(layer.apply({}, _ROW / 100), expected, rtol=1e-9)
    expected = ledger["transformer-gelu"].measure()[1]
    np.testing.assert_allclose(linen.gelu(_ROW), expected, rtol=1e-12)


# --- masks, the ends, refusals ----------------------------------------------------------------


def test_a_mask_of_floats_says_the_same_as_one_of_booleans():
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 2, 4, 5))
    keep = rng.random((2, 4, 4)) < 0.6
    keep[..., 0] = True
    layer, grad = nn.ScaledDotProductAttention(), rng.standard_normal((2, 4, 5))
    added = np.where(keep, 0, -np.inf)
    np.testing.assert_array_equal(
        layer.forward(query, key, value, keep), layer.forward(query, key, value, added)
    )
    *same, grad_mask = layer.backward(query, key, value, added, grad)
    np.testing.assert_equal(tuple(same), layer.backward(query, key, value, keep, grad))
    assert (grad_mask[~keep] == 0).all() and np.abs(grad_mask[keep]).max() > 0


def test_a_query_that_sees_nothing_has_a_gradient_of_zero():
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 4, 5))
    for convention, expected in (("torch", np.zeros(5)), ("jax", value.mean(axis=0))):
        layer = nn.ScaledDotProductAttention(convention=convention)
        nothing = np.zeros((4, 4), dtype=bool)
        np.testing.assert_allclose(layer.forward(query, key, value, nothing)[2], expected)
        grad_query, grad_key, _ = layer.backward(query, key, value, nothing, np.ones((4, 5)))
        assert not grad_query.any() and not grad_key.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e4, 1e12])
def test_nothing_overflows_far_out(scale, dtype):
    rng = np.random.default_rng(0)
    x = (scale * rng.standard_normal((3, 2, 6))).astype(dtype)
    grad = rng.standard_normal((3, 2, 6)).astype(dtype)
    attention, encoder = nn.MultiheadAttention(6, 2), nn.TransformerEncoderLayer(6, 2, 4)
    attention.need_weights = False
    for owner in (attention, *encoder._layers().values()):
        for name, array in owner.parameters().items():
            setattr(owner, name, array.astype(dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = [
            attention.forward(x, x, x),
            *attention.backward(x, x, x, grad),
            *attention.get_params()[1],
            encoder.forward(x),
            encoder.backward(x, grad),
            *encoder.get_params()[1],
        ]
    for array in found:
        assert np.isfinite(array).all() and array.dtype == dtype


A, X = np.zeros((2, 4, 5)), np.zeros((4, 2, 6))
REFUSED = [
    (lambda: nn.ScaledDotProductAttention(convention="tf"), "convention='tf' is not one of"),
    (lambda: nn.ScaledDotProductAttention().forward(A, A[..., :4], A), "ScaledDotProductAttention:"),
    (lambda: nn.ScaledDotProductAttention().forward(A, A, A[:, :3]), "ScaledDotProductAttention:"),
    (
        lambda: nn.ScaledDotProductAttention().forward(A, A, A, np.ones((3, 3), dtype=bool)),
        r"ScaledDotProductAttention: .* \(3, 3\)",
    ),
    (lambda: nn.ScaledDotProductAttention().backward(A, A, A), "got 0 arrays after the inputs"),
    (lambda: nn.MultiheadAttention(6, 4), "embed_dim=6 is no positive multiple of num_heads=4"),
    (lambda: nn.MultiheadAttention(6, 2, dropout=0.1), "MultiheadAttention: dropout=0.1"),
    (lambda: nn.MultiheadAttention(6, 2, add_bias_kv=True), "add_bias_kv=True"),
    (lambda: nn.MultiheadAttention(6, 2, add_zero_attn=True), "add_zero_attn=True"),
    (lambda: nn.MultiheadAttention(6, 2).forward(X, X[..., :5], X), "expected query, key and value"),
    (lambda: nn.MultiheadAttention(6, 2).forward(X, X[:, :1], X), "the same batch"),
    (
        lambda: nn.MultiheadAttention(6, 2).forward(X, X, X, np.zeros((4, 2), dtype=bool)),
        r"key_padding_mask has shape \(4, 2\), expected \(2, 4\)",
    ),
    (
        lambda: nn.MultiheadAttention(6, 2).forward(X, X, X, None, np.zeros((2, 4, 4), dtype=bool)),
        r"attn_mask has shape \(2, 4, 4\), expected \(4, 4\) or \(4, 4, 4\)",
    ),
    (lambda: nn.MultiheadAttention(6, 2).backward(X, X, X, X), "2 upstream gradients; got 1"),
    (lambda: nn.TransformerEncoderLayer(6, 2, activation="silu"), "activation='silu' is not one of"),
    (lambda: nn.TransformerEncoderLayer(6, 2, dropout=0.1), "TransformerEncoderLayer: dropout=0.1"),
    (lambda: nn.TransformerEncoderLayer(6, 2, 4).backward(X), "got 0 arrays after src"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_that_there_is_not_is_refused_with_those_there_are(name):
    with pytest.raises(crosscheck.errors.UsageError, match="unknown value of mask 'all'"):
        crosscheck.check(name, options={"mask": "all"})
