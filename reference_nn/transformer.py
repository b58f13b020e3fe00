"""The encoder layer of the transformer."""

from __future__ import annotations

import numpy as np

from reference_nn.activations import GELU, require_shape
from reference_nn.attention import MultiheadAttention
from reference_nn.layer import Array, Layer, require_choice
from reference_nn.linear import Linear
from reference_nn.normalization import LayerNorm
from reference_nn.rectifiers import ReLU

__all__ = ["TransformerEncoderLayer"]


class TransformerEncoderLayer(Layer):
    r"""Self-attention, then a small network for each position alone; each is added to its own input

        A(z) = attention with query = key = value = z, see `MultiheadAttention`
        F(z) = act(z W₁ + b₁) W₂ + b₂

    and the sums are normalized (``norm_first=False``, the original):

        u = N₁(x + A(x)),    y = N₂(u + F(u))

    or what goes into the branches is (``norm_first=True``), which leaves a straight way from y
    down to x:

        u = x + A(N₁(x)),    y = u + F(N₂(u))

    A sum hands its gradient to both of its terms. So with G = ∂L/∂y and Jᵀ_f for the backward
    pass of f, the gradient of a branch is added to the gradient that passes it by:

        norm first:  ∂L/∂u = G + Jᵀ_N₂ Jᵀ_F G          ∂L/∂x = ∂L/∂u + Jᵀ_N₁ Jᵀ_A ∂L/∂u
        else:        H₂ = Jᵀ_N₂ G,  ∂L/∂u = H₂ + Jᵀ_F H₂    H₁ = Jᵀ_N₁ ∂L/∂u,  ∂L/∂x = H₁ + Jᵀ_A H₁

    where Jᵀ_A adds up the gradients of query, key and value, which are one array.

    The layers are the attributes self_attn, linear1, linear2, norm1 and norm2, and the parameters
    are called after them: ``self_attn.in_proj_weight``, ``linear1.weights``, ``norm1.bias``, …

    Dropout, 0.1 in torch.nn.TransformerEncoderLayer by default, is 0 here, and nothing else.

    Shapes:
        src and output: (length, batch, d_model); batch comes first with ``batch_first``.
        src_mask, optional: (length, length) or (batch·nhead, length, length)
        src_key_padding_mask, optional: (batch, length). Both masks: True = ignore, or floats that
        are added to the scores. With ``is_causal`` no position sees a later one.
        linear1: d_model → dim_feedforward, linear2: back; norm1, norm2: (d_model,)

    dtypes: float32 or float64, those of the input and the parameters. Raises ValueError for
    another activation than ``"relu"`` and ``"gelu"``, for dropout, and for shapes that do not fit.

    Source: Vaswani et al., Attention is all you need, NIPS 2017, section 3.1; Xiong et al., On
    layer normalization in the transformer architecture, ICML 2020, for ``norm_first``.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.0,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        is_causal: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        require_choice("TransformerEncoderLayer", "dropout", dropout, (0.0,))
        require_choice("TransformerEncoderLayer", "activation", activation, ("relu", "gelu"))
        rng = rng or np.random.default_rng()
        self.norm_first = norm_first
        self.self_attn = MultiheadAttention(
            d_model,
            nhead,
            bias=bias,
            batch_first=batch_first,
            is_causal=is_causal,
            need_weights=False,
            rng=rng,
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, rng=rng)
        self.activation = ReLU() if activation == "relu" else GELU()
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, rng=rng)
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, bias=bias)

    def _layers(self) -> dict[str, Layer]:
        names = ("self_attn", "linear1", "linear2", "norm1", "norm2")
        return {name: getattr(self, name) for name in names}

    def parameters(self) -> dict[str, Array]:
        """``"linear1.weights"`` → array, over all layers."""
        return {
            f"{owner}.{name}": array
            for owner, layer in self._layers().items()
            for name, array in layer.parameters().items()
        }

    def get_params(self) -> tuple[list[Array], list[Array]]:
        """The parameters of all layers in the order of `parameters`, and their gradients."""
        both = [layer.get_params() for layer in self._layers().values()]
        return [p for own, _ in both for p in own], [g for _, own in both for g in own]

    # --- the two branches -------------------------------------------------------------------

    def _attend(self, z: Array, masks: tuple[Array | None, ...]) -> Array:
        """A(z)."""
        src_mask, src_key_padding_mask = masks
        output = self.self_attn.forward(z, z, z, src_key_padding_mask, src_mask)
        assert not isinstance(output, tuple)  # no weights were asked for
        return output

    def _attend_backward(self, z: Array, masks: tuple[Array | None, ...], grad: Array) -> Array:
        src_mask, src_key_padding_mask = masks
        query, key, value = self.self_attn.backward(z, z, z, src_key_padding_mask, src_mask, grad)
        return query + key + value

    def _feed(self, z: Array) -> Array:
        """F(z)."""
        return self.linear2.forward(self.activation.forward(self.linear1.forward(z)))

    def _feed_backward(self, z: Array, grad: Array) -> Array:
        hidden = self.linear1.forward(z)
        grad = self.linear2.backward(self.activation.forward(hidden), grad)
        return self.linear1.backward(z, self.activation.backward(hidden, grad))

    # --- the layer --------------------------------------------------------------------------

    def forward(
        self, src: Array, src_mask: Array | None = None, src_key_padding_mask: Array | None = None
    ) -> Array:
        """The output, shaped like src."""
        masks = (src_mask, src_key_padding_mask)
        if self.norm_first:
            u = src + self._attend(self.norm1.forward(src), masks)
            return u + self._feed(self.norm2.forward(u))
        u = self.norm1.forward(src + self._attend(src, masks))
        return self.norm2.forward(u + self._feed(u))

    def backward(self, src: Array, *rest: Array | None) -> Array:
        """Gradient of src; leaves those of the parameters in their layers.

        Args:
            src: the input.
            rest: the masks that `forward` was given (None for a first one that was not), then the
                gradient of the output.
        """
        if not 1 <= len(rest) <= 3:
            raise ValueError(
                "TransformerEncoderLayer.backward: expected src, at most 2 masks and the gradient "
                f"of the output; got {len(rest)} arrays after src"
            )
        *given, grad_output = rest
        assert grad_output is not None
        masks = (*given, None, None)[:2]
        require_shape(self, grad_output, src.shape)
        if self.norm_first:
            normal = self.norm1.forward(src)
            u = src + self._attend(normal, masks)
            branch = self._feed_backward(self.norm2.forward(u), grad_output)
            grad_u = grad_output + self.norm2.backward(u, branch)
            branch = self._attend_backward(normal, masks, grad_u)
            return grad_u + self.norm1.backward(src, branch)
        first = src + self._attend(src, masks)
        u = self.norm1.forward(first)
        grad_second = self.norm2.backward(u + self._feed(u), grad_output)
        grad_u = grad_second + self._feed_backward(u, grad_second)
        grad_first = self.norm1.backward(first, grad_u)
        return grad_first + self._attend_backward(src, masks, grad_first)
