"""Embedding and EmbeddingBag: rows of a matrix, looked up by index."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, Layer, require_choice

__all__ = ["Embedding", "EmbeddingBag"]


class _Lookup(Layer):
    r"""What both share: the matrix, and the transpose of looking up its rows.

    Looking up row x_k is the product of a one-hot row with the matrix W, output[k] = e_{x_k} W. So
    with R[k] = ∂L/∂output[k],

        ∂L/∂W[v] = Σ_{k: x_k = v} R[k]

    A row that was looked up several times collects several gradients: an assignment
    ``grad[x] = R`` would keep the last one only. A row that was not looked up gets 0.
    """

    parameter_names = ("weights",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        scale_grad_by_freq: bool,
        sparse: bool,
        rng: np.random.Generator | None,
    ) -> None:
        name = type(self).__name__
        require_choice(name, "max_norm", max_norm, (None,))
        require_choice(name, "sparse", sparse, (False,))
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"{name}: padding_idx={padding_idx} is not one of the {num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        rng = rng or np.random.default_rng()
        self.padding_idx, self.scale_grad_by_freq = padding_idx, scale_grad_by_freq
        self.weights: Array = rng.standard_normal((num_embeddings, embedding_dim))
        if padding_idx is not None:
            self.weights[padding_idx] = 0
        self.grad_weights: Array = np.zeros_like(self.weights)

    def _require_indices(self, x: Array) -> None:
        """Refuse what is no row number: NumPy would take a negative one from the end.

        Raises:
            ValueError: not integers.
            IndexError: an index outside [0, num_embeddings).
        """
        name, rows = type(self).__name__, len(self.weights)
        if x.dtype.kind not in "iu":
            raise ValueError(f"{name}: expected indices, integers, got dtype {x.dtype}")
        outside = x[(x < 0) | (x >= rows)]
        if outside.size:
            raise IndexError(f"{name}: index {outside[0]} is not one of the {rows} rows")

    def _add_rows(self, x: Array, rows: Array) -> Array:
        """Σ_{k: x_k = v} rows[k] for every v, (num_embeddings, embedding_dim).

        Sorted by index, the rows to be added lie together, and each such stretch is one sum.
        """
        total = np.zeros(self.weights.shape, rows.dtype)
        if x.size:
            order = np.argsort(x, kind="stable")
            index, start = np.unique(x[order], return_index=True)
            total[index] = np.add.reduceat(rows[order], start, axis=0)
        if self.scale_grad_by_freq:
            count = np.bincount(x, minlength=len(total))
            total /= np.maximum(count, 1).astype(rows.dtype)[:, None]
        return total


class Embedding(_Lookup):
    r"""y[k] = W[x_k]: each index is replaced by its row of the matrix

        ∂L/∂W[v] = Σ_{k: x_k = v} G[k]

    as derived in `_Lookup`; an index has no gradient, so backward returns None.

    Two options change the gradient into something else than the derivative of the forward:

    - ``padding_idx``: that row is a placeholder and is not trained, its gradient is 0. It starts as
      zeros, but what stands there is looked up as any other. Counted from the end if negative.
    - ``scale_grad_by_freq``: the gradient of each row is divided by how often it was looked up:
      a mean instead of the sum.

    Shapes:
        x: any, integers in [0, num_embeddings); output: (*x.shape, embedding_dim)
        weights: (num_embeddings, embedding_dim)

    dtypes: x any integers; output that of the weights, float32 or float64. Raises IndexError for
    an index outside, as PyTorch (jnp.take gives NaN, and counts negative ones from the end);
    ValueError for x not of integers, a padding_idx outside, and max_norm and sparse, which this
    layer does not have.

    Initial weights are standard normal, as torch.nn.Embedding's.

    Source: Bengio et al., A neural probabilistic language model, JMLR 3 (2003); torch.nn.Embedding,
    documentation, for the options.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, scale_grad_by_freq, sparse, rng
        )

    def forward(self, x: Array) -> Array:
        """(…) of integers → (…, embedding_dim)."""
        self._require_indices(x)
        return self.weights[x]

    def backward(self, x: Array, grad_output: Array) -> None:
        """Leaves grad_weights; there is no gradient of an index."""
        self._require_indices(x)
        expected = (*x.shape, self.weights.shape[1])
        if grad_output.shape != expected:
            raise ValueError(
                f"Embedding: grad_output has shape {grad_output.shape}, expected {expected}"
            )
        self.grad_weights = self._add_rows(x.ravel(), grad_output.reshape(-1, expected[-1]))
        if self.padding_idx is not None:
            self.grad_weights[self.padding_idx] = 0


class EmbeddingBag(_Lookup):
    r"""The sum, mean or maximum of several rows of a matrix, without the rows in between

    Bag b has the indices x[b, k]; those equal to ``padding_idx`` are left out, n_b are kept.

        sum    y[b] = Σ_k w[b, k] W[x[b, k]]    w the weights of a call, 1 without
        mean   y[b] = Σ_k W[x[b, k]] / n_b
        max    y[b, j] = max_k W[x[b, k], j]

    A bag of which nothing is kept gives 0. The gradient R[b, k] of each looked-up row, from
    G = ∂L/∂y:

        sum    R[b, k] = w[b, k] G[b],    ∂L/∂w[b, k] = G[b] · W[x[b, k]]
        mean   R[b, k] = G[b] / n_b
        max    R[b, k, j] = G[b, j] where k is the place of the maximum, else 0

    and a row of W collects those of all its places (`_Lookup`). Where several rows share the
    maximum, ``convention="torch"`` gives all to the first, ``"jax"`` (jnp.max) equal parts to each.

    The indices come as a matrix, one row a bag; or as a line together with the offsets at which
    the bags start, so that bags may differ in length, and be empty. With ``include_last_offset``
    the offsets end with that of the end of the last bag.

    ``scale_grad_by_freq`` divides the gradient of each row by how often its index occurs in x.
    That is no derivative, and not what PyTorch computes, see the catalogue's ledger.

    Shapes:
        x: (bags, length), or (indices,) with offsets (bags,), or (bags + 1,) with
        ``include_last_offset``; integers in [0, num_embeddings)
        per_sample_weights, with mode "sum" only: as x
        weights: (num_embeddings, embedding_dim), output: (bags, embedding_dim)

    dtypes: x and offsets any integers; output that of the weights, float32 or float64. Raises
    IndexError for an index outside; ValueError for other shapes, offsets that do not start with 0
    or do not ascend, weights with another mode, max with scale_grad_by_freq, and max_norm and
    sparse, which this layer does not have.

    Initial weights are standard normal, as torch.nn.EmbeddingBag's.

    Source: Joulin et al., Bag of tricks for efficient text classification, EACL 2017;
    torch.nn.EmbeddingBag, documentation.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        convention: str = "torch",
        rng: np.random.Generator | None = None,
    ) -> None:
        require_choice("EmbeddingBag", "mode", mode, ("sum", "mean", "max"))
        require_choice("EmbeddingBag", "convention", convention, ("torch", "jax"))
        if mode == "max":
            require_choice("EmbeddingBag", "scale_grad_by_freq", scale_grad_by_freq, (False,))
        self.mode, self.convention = mode, convention
        self.include_last_offset = include_last_offset
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, scale_grad_by_freq, sparse, rng
        )

    def forward(
        self, x: Array, offsets: Array | None = None, per_sample_weights: Array | None = None
    ) -> Array:
        """(bags, length), or (indices,) and offsets → (bags, embedding_dim)."""
        place, inside = self._places(x, offsets)
        index, kept, rows = self._look_up(x, place, inside)
        if self.mode == "max":
            highest = np.where(kept[..., None], rows, -np.inf).max(axis=1, initial=-np.inf)
            found: Array = np.any(kept, axis=1, keepdims=True)
            return np.where(found, highest, 0)
        share = self._share(x, place, kept, per_sample_weights)
        return np.asarray((share[:, None, :] @ rows)[:, 0])

    def backward(self, x: Array, *rest: Array | None) -> Array | None:
        """Leaves grad_weights; returns the gradient of per_sample_weights, None without.

        Args:
            x: as in forward.
            rest: the other inputs of forward, if there are any, then the upstream gradient.
        """
        offsets, per_sample_weights, grad_output = (*rest[:-1], None, None)[:2] + rest[-1:]
        place, inside = self._places(x, offsets)
        expected = (len(place), self.weights.shape[1])
        if grad_output is None or grad_output.shape != expected:
            found = None if grad_output is None else grad_output.shape
            raise ValueError(f"EmbeddingBag: grad_output has shape {found}, expected {expected}")
        index, kept, rows = self._look_up(x, place, inside)
        if self.mode == "max":
            share = self._share_of_maximum(kept, rows)
        else:
            share = self._share(x, place, kept, per_sample_weights)[..., None]
        grad_rows = share * grad_output[:, None, :]
        self.grad_weights = self._add_rows(index[kept], grad_rows[kept])
        if per_sample_weights is None:
            return None
        grad_line = np.zeros(x.size, rows.dtype)
        grad_line[place[inside]] = (rows @ grad_output[..., None])[..., 0][inside]
        return grad_line.reshape(x.shape)

    def _share(self, x: Array, place: Array, kept: Array, weights: Array | None) -> Array:
        """What each row counts in the sum or mean of its bag, (bags, longest); 0 if left out."""
        if weights is None:
            share = kept.astype(self.weights.dtype)
        else:
            require_choice("EmbeddingBag", "mode", self.mode, ("sum",))
            if weights.shape != x.shape:
                raise ValueError(
                    f"EmbeddingBag: per_sample_weights has shape {weights.shape}, expected "
                    f"{x.shape}, that of x"
                )
            share = np.where(kept, weights.reshape(-1)[place], 0)
        if self.mode == "mean":
            share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
        return share

    def _share_of_maximum(self, kept: Array, rows: Array) -> Array:
        """The part of the gradient that each element of each row gets, (bags, longest, dim)."""
        inside = np.where(kept[..., None], rows, -np.inf)
        highest = kept[..., None] & (inside == inside.max(axis=1, initial=-np.inf, keepdims=True))
        if self.convention == "torch":
            highest &= highest.cumsum(axis=1) == 1
        share = highest.astype(rows.dtype)
        return np.asarray(share / np.maximum(share.sum(axis=1, keepdims=True), 1))

    def _look_up(self, x: Array, place: Array, inside: Array) -> tuple[Array, Array, Array]:
        """The bags as a table: index, whether it is kept, and its row, 0 if it is not."""
        self._require_indices(x)
        index = x.reshape(-1)[place]
        kept = inside & (index != self.padding_idx) if self.padding_idx is not None else inside
        return index, kept, np.where(kept[..., None], self.weights[index], 0)

    def _places(self, x: Array, offsets: Array | None) -> tuple[Array, Array]:
        """Where in x each bag's indices stand, (bags, longest), and whether there is one."""
        if offsets is None:
            if x.ndim != 2:
                raise ValueError(
                    f"EmbeddingBag: expected x of shape (bags, length), or of one axis and with "
                    f"offsets; got shape {x.shape}"
                )
            return np.arange(x.size).reshape(x.shape), np.ones(x.shape, np.bool_)
        if x.ndim != 1 or offsets.ndim != 1 or offsets.dtype.kind not in "iu":
            raise ValueError(
                f"EmbeddingBag: with offsets expected x and offsets of one axis, offsets of "
                f"integers; got shapes {x.shape} and {offsets.shape}, dtype {offsets.dtype}"
            )
        bounds = offsets if self.include_last_offset else np.append(offsets, x.size)
        length = np.diff(bounds)
        if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != x.size or (length < 0).any():
            raise ValueError(
                f"EmbeddingBag: offsets {offsets} must ascend from 0 and end "
                f"{'at' if self.include_last_offset else 'before'} the {x.size} indices of x"
            )
        step = np.arange(length.max())
        inside = step < length[:, None]
        return np.where(inside, bounds[:-1, None] + step, 0), inside
