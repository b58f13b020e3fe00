"""Attention: averages of values, weighted by how well their keys match a query."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.activations import require_shape
from reference_nn.layer import Array, Layer, require_choice
from reference_nn.softmax import softmax_backward

__all__ = ["MultiheadAttention", "ScaledDotProductAttention"]

CONVENTIONS = ("torch", "jax")


class ScaledDotProductAttention(Layer):
    r"""O = P V,  P = softmax(S) along the last axis,  S = α Q Kᵀ + M

    Row l of Q is a query, row s of K and of V a key and its value. P[l, s], the share of value s
    in output l, grows with the score S[l, s]. The scale α is 1/√dim by default: the product of
    two vectors of dim independent elements of variance 1 has variance dim, and scores that large
    would leave the softmax where its gradient vanishes.

    The mask M is added to the scores. A boolean mask says which keys a query sees (True = keep):
    M is 0 there and −∞ elsewhere, so that P is 0. With ``is_causal`` query l sees keys s ≤ l only,
    besides what a mask says.

    With G = ∂L/∂O, the product rule for O = P V and for the scores, and the softmax in between
    (see `Softmax`), give

        ∂L/∂V = Pᵀ G,    ∂L/∂P = G Vᵀ
        ∂L/∂S[l, s] = P[l, s] (∂L/∂P[l, s] − Σ_t P[l, t] ∂L/∂P[l, t])
        ∂L/∂Q = α ∂L/∂S K,    ∂L/∂K = α (∂L/∂S)ᵀ Q,    ∂L/∂M = ∂L/∂S

    where a mask that is the same for several heads or samples collects the gradient of all. Each
    row of ∂L/∂S sums to 0: what is added to all keys alike changes nothing.

    A query that sees no key at all has no softmax. With ``convention="torch"`` its output is 0,
    with ``"jax"`` the mean of all values; its own gradient is 0 in both. (For a mask of floats
    jax.nn.dot_product_attention gives NaN there, which this layer never does.)

    With ``enable_gqa`` (grouped queries) there are several heads of queries, side by side, to
    each head of keys and values, whose gradients add up.

    Shapes:
        query: (..., heads, length, dim), key: (..., heads, source, dim),
        value: (..., heads, source, value_dim); heads may be missing, or with ``enable_gqa`` be a
        multiple for query of what it is for key and value.
        mask, optional: any that broadcasts to (..., heads, length, source); boolean, or floats
        to be added, whose gradient comes as a fourth one.
        output: (..., heads, length, value_dim).

    dtypes: float32 or float64, kept. Raises ValueError for shapes that do not fit together.

    Source: Vaswani et al., Attention is all you need, NIPS 2017, section 3.2.1; Ainslie et al.,
    GQA, EMNLP 2023, for grouped queries.
    """

    def __init__(
        self,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("ScaledDotProductAttention", "convention", convention, CONVENTIONS)
        self.is_causal, self.enable_gqa = is_causal, enable_gqa
        self.scale = None if scale is None else float(scale)
        self.convention = convention

    def _alpha(self, query: Array) -> float:
        return 1 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale

    def _for_each_head(self, query: Array, array: Array) -> Array:
        """Keys or values once for each head of queries."""
        if not self.enable_gqa:
            return array
        return np.repeat(array, query.shape[-3] // array.shape[-3], axis=-3)

    def weights(self, query: Array, key: Array, mask: Array | None = None) -> tuple[Array, Array]:
        """P (..., length, source), and whether a query sees any key (..., length, 1).

        The largest score of a row is subtracted before any exponential is taken: none overflows.
        """
        key = self._for_each_head(query, key)
        scores = (self._alpha(query) * query) @ key.swapaxes(-1, -2)
        if self.is_causal:
            scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, -np.inf)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        top = scores.max(axis=-1, keepdims=True)
        sees = top > -np.inf
        scores -= np.where(sees, top, 0)
        weights = np.exp(scores, out=scores)
        total = weights.sum(axis=-1, keepdims=True)
        weights /= np.where(sees, total, 1)
        if self.convention == "jax":
            weights = np.where(sees, weights, 1 / key.shape[-2])
        return weights, sees

    def gradients(
        self,
        query: Array,
        key: Array,
        value: Array,
        weights: tuple[Array, Array],
        grad_output: Array,
        grad_weights: Array | float = 0.0,
    ) -> tuple[Array, Array, Array, Array]:
        """Gradients of query, key, value and scores.

        Args:
            query, key, value: the inputs.
            weights: what `weights` returned for them.
            grad_output: the upstream gradient of the output.
            grad_weights: that of P, where P is an output as well.
        """
        p, sees = weights
        alpha = self._alpha(query)
        each_key, each_value = (self._for_each_head(query, a) for a in (key, value))
        grad_value = p.swapaxes(-1, -2) @ grad_output
        grad_p = grad_output @ each_value.swapaxes(-1, -2) + grad_weights
        grad_scores = np.where(sees, softmax_backward(p, grad_p, -1), 0)
        grad_query = alpha * (grad_scores @ each_key)
        grad_key = alpha * (grad_scores.swapaxes(-1, -2) @ query)
        if self.enable_gqa:
            grouped = (*key.shape[:-2], -1)
            grad_key = grad_key.reshape(*grouped, *key.shape[-2:]).sum(axis=-3)
            grad_value = grad_value.reshape(*grouped, *value.shape[-2:]).sum(axis=-3)
        return grad_query, grad_key, grad_value, grad_scores

    def forward(self, query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
        """The output: (..., heads, length, value_dim)."""
        self._require_fit(query, key, value, mask)
        weights, _ = self.weights(query, key, mask)
        return np.asarray(weights @ self._for_each_head(query, value))

    def backward(
        self, query: Array, key: Array, value: Array, *rest: Array | None
    ) -> tuple[Array, ...]:
        """Gradients of query, key and value, and of a mask of floats.

        Args:
            query, key, value: the inputs.
            rest: the mask, if `forward` was given one, then the gradient of the output.
        """
        masks, (grad_output,) = _parted("ScaledDotProductAttention", rest, most=1, outputs=1)
        mask = masks[0]
        self._require_fit(query, key, value, mask)
        require_shape(self, grad_output, (*query.shape[:-1], value.shape[-1]))
        weights = self.weights(query, key, mask)
        *found, grad_scores = self.gradients(query, key, value, weights, grad_output)
        if mask is not None and mask.dtype != bool:
            found.append(_sum_to(grad_scores, mask.shape))
        return tuple(found)

    def _require_fit(self, query: Array, key: Array, value: Array, mask: Array | None) -> None:
        name, shapes = "ScaledDotProductAttention", (query.shape, key.shape, value.shape)
        least = 3 if self.enable_gqa else 2
        if {a.ndim for a in (query, key, value)} != {query.ndim} or query.ndim < least:
            wanted = "heads, length, dim" if self.enable_gqa else "length, dim"
            raise ValueError(
                f"{name}: expected three arrays of shape (..., {wanted}), got {shapes}"
            )
        if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
            raise ValueError(
                f"{name}: query and key must have the same dim, key and value the same length; "
                f"got {shapes}"
            )
        lead = {a.shape[:-least] for a in (query, key, value)}
        heads = {a.shape[-3] for a in (key, value)} if self.enable_gqa else {1}
        if len(lead) > 1 or len(heads) > 1 or self.enable_gqa and query.shape[-3] % heads.pop():
            heads_too = ", but for query a multiple of the heads" if self.enable_gqa else ""
            raise ValueError(
                f"{name}: the axes before the last two must be the same{heads_too}; got {shapes}"
            )
        if mask is not None:
            scores = (*query.shape[:-1], key.shape[-2])
            if mask.ndim > len(scores) or any(
                m not in (1, n) for m, n in zip(mask.shape[::-1], scores[::-1], strict=False)
            ):
                raise ValueError(f"{name}: mask has shape {mask.shape}, expected one for {scores}")


def _parted(
    layer: str, rest: tuple[Array | None, ...], most: int, outputs: int
) -> tuple[tuple[Array | None, ...], tuple[Array, ...]]:
    """What follows the inputs in a call of backward: up to `most` masks, then upstream gradients."""
    given = len(rest) - outputs
    if not 0 <= given <= most:
        raise ValueError(
            f"{layer}.backward: expected the inputs, at most {most} masks and {outputs} upstream "
            f"gradients; got {len(rest)} arrays after the inputs"
        )
    upstream = tuple(array for array in rest[given:] if array is not None)
    if len(upstream) < outputs:
        raise ValueError(f"{layer}.backward: an upstream gradient is None")
    return (*rest[:given], *(None,) * (most - given)), upstream


def _sum_to(array: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of what was broadcast from `shape`: the sum over all of its copies."""
    extra = array.ndim - len(shape)
    total = array.sum(axis=tuple(range(extra)))
    once = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(total.sum(axis=once, keepdims=True))


class MultiheadAttention(Layer):
    r"""Attention in several heads at once, between linear maps

    Query, key and value rows are mapped to embed_dim elements each, which are cut into num_heads
    pieces of head_dim = embed_dim/num_heads; every head attends on its own pieces, and what the
    heads give is put side by side again and mapped once more:

        Q = x_q W_qᵀ + b_q,   K = x_k W_kᵀ + b_k,   V = x_v W_vᵀ + b_v
        O_h = attention(Q_h, K_h, V_h)          h = 1 … heads, see `ScaledDotProductAttention`
        y = [O_1 … O_heads] W_oᵀ + b_o

    The chain rule, from the end: each linear map as in `Linear` (with the weights transposed),
    each head as in `ScaledDotProductAttention`. With G = ∂L/∂y, summed over all rows,

        ∂L/∂W_o = Gᵀ O,    ∂L/∂b_o = Σ G,    ∂L/∂O = G W_o
        ∂L/∂W_q = (∂L/∂Q)ᵀ x_q,    ∂L/∂b_q = Σ ∂L/∂Q,    ∂L/∂x_q = ∂L/∂Q W_q

    and so for keys and values. The gradient of b_k is 0: it adds q·b_k to all scores of a query
    alike, which no softmax notices.

    With ``need_weights`` the second output is P, the mean over the heads or, without
    ``average_attn_weights``, of each head. Its upstream gradient is added to ∂L/∂P.

    Self-attention is query = key = value; its gradient is the sum of the three.

    Masks are those of torch.nn.MultiheadAttention: True = ignore, the opposite of
    `ScaledDotProductAttention`, or floats that are added to the scores; they are constants here.
    A query whose keys are all ignored gets, before the last map, 0 (``convention="torch"``) or
    the mean of all values (``"jax"``); see the other class.

    Shapes:
        query: (length, batch, embed_dim), key: (source, batch, kdim), value: (source, batch,
        vdim); batch comes first with ``batch_first``. kdim and vdim are embed_dim if None.
        key_padding_mask, optional: (batch, source)
        attn_mask, optional: (length, source) or (batch·num_heads, length, source)
        output: query's; weights: (batch, length, source) or (batch, num_heads, length, source)
        in_proj_weight: (3 embed_dim, embed_dim), W_q, W_k and W_v one below the other; where kdim
        or vdim differ q_proj_weight, k_proj_weight, v_proj_weight: (embed_dim, embed_dim, kdim or
        vdim); in_proj_bias: (3 embed_dim,)
        out_proj_weight: (embed_dim, embed_dim), out_proj_bias: (embed_dim,)

    dtypes: float32 or float64, those of the inputs and the parameters. Raises ValueError for
    shapes that do not fit together and for the options that it does not have: ``dropout`` other
    than 0, ``add_bias_kv``, ``add_zero_attn``.

    Initial weights are uniform in ±√(6/(rows + columns)), those of out_proj in ±1/√embed_dim, all
    biases 0, as torch.nn.MultiheadAttention's.

    Source: Vaswani et al., Attention is all you need, NIPS 2017, section 3.2.2.
    """

    parameter_names = (
        "in_proj_weight",
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "in_proj_bias",
        "out_proj_weight",
        "out_proj_bias",
    )

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        is_causal: bool = False,
        need_weights: bool = True,
        average_attn_weights: bool = True,
        convention: str = "torch",
        rng: np.random.Generator | None = None,
    ) -> None:
        name = "MultiheadAttention"
        require_choice(name, "dropout", dropout, (0.0,))
        require_choice(name, "add_bias_kv", add_bias_kv, (False,))
        require_choice(name, "add_zero_attn", add_zero_attn, (False,))
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                f"{name}: embed_dim={embed_dim} is no positive multiple of num_heads={num_heads}"
            )
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.need_weights, self.average_attn_weights = need_weights, average_attn_weights
        self.attention = ScaledDotProductAttention(is_causal, convention=convention)
        rng = rng or np.random.default_rng()

        def uniform(rows: int, columns: int) -> Array:
            bound = math.sqrt(6 / (rows + columns))
            return rng.uniform(-bound, bound, (rows, columns))

        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight: Array = uniform(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight: Array = uniform(embed_dim, embed_dim)
            self.k_proj_weight: Array = uniform(embed_dim, self.kdim)
            self.v_proj_weight: Array = uniform(embed_dim, self.vdim)
        bound = 1 / math.sqrt(embed_dim)
        self.out_proj_weight: Array = rng.uniform(-bound, bound, (embed_dim, embed_dim))
        self.in_proj_bias: Array | None = np.zeros(3 * embed_dim) if bias else None
        self.out_proj_bias: Array | None = np.zeros(embed_dim) if bias else None
        for parameter, array in self.parameters().items():
            setattr(self, "grad_" + parameter, np.zeros_like(array))

    # --- rows and heads ---------------------------------------------------------------------

    def _split(self, rows: Array, like: Array) -> Array:
        """Rows of embed_dim elements → (batch, heads, length, head_dim); the batch is that of `like`."""
        pieces = rows.reshape(*like.shape[:2], self.num_heads, -1)
        return pieces.transpose(0, 2, 1, 3) if self.batch_first else pieces.transpose(1, 2, 0, 3)

    def _join(self, heads: Array) -> Array:
        """(batch, heads, length, head_dim) → rows of embed_dim elements, the inverse of `_split`."""
        pieces = heads.transpose(0, 2, 1, 3) if self.batch_first else heads.transpose(2, 0, 1, 3)
        return pieces.reshape(-1, self.embed_dim)

    def _maps(self) -> list[Array]:
        """W_q, W_k and W_v."""
        if hasattr(self, "in_proj_weight"):
            return np.split(self.in_proj_weight, 3)
        return [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]

    def _project(self, *inputs: Array) -> list[Array]:
        """Q, K and V, in heads."""
        biases = [0, 0, 0] if self.in_proj_bias is None else np.split(self.in_proj_bias, 3)
        return [
            self._split(x.reshape(-1, x.shape[-1]) @ w.T + b, x)
            for x, w, b in zip(inputs, self._maps(), biases, strict=True)
        ]

    def _mask(self, query: Array, key_padding_mask: Array | None, attn_mask: Array | None) -> Array:
        """Both masks as one that is added to the scores: broadcasts to (batch, heads, length, source)."""
        batch = query.shape[0 if self.batch_first else 1]
        total = np.zeros((1, 1, 1, 1), query.dtype)
        if key_padding_mask is not None:
            total = total + _added(key_padding_mask, query)[:, None, None, :]
        if attn_mask is not None:
            added = _added(attn_mask, query)
            if added.ndim == 3:
                added = added.reshape(batch, self.num_heads, *added.shape[1:])
            total = total + added
        return np.asarray(total)

    # --- the layer --------------------------------------------------------------------------

    def forward(
        self,
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None = None,
        attn_mask: Array | None = None,
    ) -> Array | tuple[Array, Array]:
        """The output, shaped like query; with `need_weights` the weights P too."""
        self._require_fit(query, key, value, key_padding_mask, attn_mask)
        q, k, v = self._project(query, key, value)
        weights, _ = self.attention.weights(q, k, self._mask(query, key_padding_mask, attn_mask))
        rows = self._join(weights @ v) @ self.out_proj_weight.T
        if self.out_proj_bias is not None:
            rows = rows + self.out_proj_bias
        output = rows.reshape(query.shape)
        if not self.need_weights:
            return output
        return output, weights.mean(axis=1) if self.average_attn_weights else weights

    def backward(
        self, query: Array, key: Array, value: Array, *rest: Array | None
    ) -> tuple[Array, Array, Array]:
        """Gradients of query, key and value; leaves those of the parameters in ``grad_…``.

        Args:
            query, key, value: the inputs.
            rest: the masks that `forward` was given (None for a first one that was not), the
                gradient of the output and, with `need_weights`, the gradient of the weights.
        """
        masks, upstream = _parted(
            "MultiheadAttention", rest, most=2, outputs=2 if self.need_weights else 1
        )
        self._require_fit(query, key, value, *masks)
        require_shape(self, upstream[0], query.shape)
        q, k, v = self._project(query, key, value)
        weights = self.attention.weights(q, k, self._mask(query, *masks))

        grad_output = upstream[0].reshape(-1, self.embed_dim)
        self.grad_out_proj_weight = grad_output.T @ self._join(weights[0] @ v)
        if self.out_proj_bias is not None:
            self.grad_out_proj_bias = grad_output.sum(axis=0)
        grad_heads = self._split(grad_output @ self.out_proj_weight, query)

        grad_weights: Array | float = 0.0
        if self.need_weights:
            shape = weights[0].shape
            averaged = self.average_attn_weights
            require_shape(self, upstream[1], (shape[0], *shape[2:]) if averaged else shape)
            grad_weights = upstream[1][:, None] / self.num_heads if averaged else upstream[1]
        of_heads = self.attention.gradients(q, k, v, weights, grad_heads, grad_weights)

        rows = [self._join(gradient) for gradient in of_heads[:3]]
        inputs = (query, key, value)
        grad_maps = [g.T @ x.reshape(-1, x.shape[-1]) for g, x in zip(rows, inputs, strict=True)]
        if hasattr(self, "in_proj_weight"):
            self.grad_in_proj_weight = np.concatenate(grad_maps)
        else:
            self.grad_q_proj_weight, self.grad_k_proj_weight, self.grad_v_proj_weight = grad_maps
        if self.in_proj_bias is not None:
            self.grad_in_proj_bias = np.concatenate([g.sum(axis=0) for g in rows])
        grad_query, grad_key, grad_value = (
            (g @ w).reshape(x.shape) for g, w, x in zip(rows, self._maps(), inputs, strict=True)
        )
        return grad_query, grad_key, grad_value

    def _require_fit(
        self,
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None,
        attn_mask: Array | None,
    ) -> None:
        name, shapes = "MultiheadAttention", (query.shape, key.shape, value.shape)
        features = (self.embed_dim, self.kdim, self.vdim)
        if any(len(shape) != 3 for shape in shapes) or features != tuple(s[2] for s in shapes):
            axes = "(batch, length, …)" if self.batch_first else "(length, batch, …)"
            raise ValueError(
                f"{name}: expected query, key and value {axes} of {features} features, got {shapes}"
            )
        ordered = [s[:2] if self.batch_first else s[1::-1] for s in shapes]
        (batch, length), (_, source), _ = ordered
        if ordered[1] != ordered[2] or ordered[1][0] != batch:
            raise ValueError(
                f"{name}: query, key and value must have the same batch, key and value the same "
                f"length; got {shapes} with batch_first={self.batch_first}"
            )
        scores = (length, source)
        for mask, what, allowed in (
            (key_padding_mask, "key_padding_mask", ((batch, source),)),
            (attn_mask, "attn_mask", (scores, (batch * self.num_heads, *scores))),
        ):
            if mask is not None and mask.shape not in allowed:
                expected = " or ".join(map(str, allowed))
                raise ValueError(f"{name}: {what} has shape {mask.shape}, expected {expected}")


def _added(mask: Array, like: Array) -> Array:
    """A mask as what is added to scores: −∞ for True, floats as they are."""
    if mask.dtype != bool:
        return mask
    return np.where(mask, -np.inf, 0).astype(like.dtype)
