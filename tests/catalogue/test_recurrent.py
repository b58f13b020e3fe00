"""Recurrent cells and layers: mistakes people make, JAX's libraries, refusals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.checking import check_cases
from crosscheck.sampling import cases, option_sets
from reference_nn.recurrent_cells import GRUGates, LSTMGates, RNNGates

quick = partial(crosscheck.check, dtypes=("float64",))
CELLS, LAYERS = ("RNNCell", "LSTMCell", "GRUCell"), ("RNN", "LSTM", "GRU")


# --- every combination of options -------------------------------------------------------------


@pytest.mark.parametrize("name", [*CELLS, *LAYERS])
def test_every_combination_of_options_agrees(torch, name):
    layer = crosscheck.catalogue[name]
    first = [next(cases(layer, options=options)) for options in option_sets(layer, 0)]
    report = check_cases(layer, first, against=("torch", "numeric"))
    assert {case.problem.label() for case in first} == {
        c.case.problem.label() for c in report.comparisons
    }
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("name", LAYERS)
def test_two_layers_in_two_directions_agree_with_a_scan(frameworks, name):
    layer = crosscheck.catalogue[name]
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    report = check_cases(layer, [next(cases(layer, options=options))], against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


# --- mistakes ---------------------------------------------------------------------------------


class OnlyTheStepItself(nn.RNN):
    """The gradient does not pass from a step to the one before: right at the last step alone."""

    def _run_backward(self, run, grad_output, grad):
        weight_hh = getattr(self, f"weight_hh{run.suffix}")
        self.gates = Forgets(self.gates.nonlinearity, weight_hh)
        return super()._run_backward(run, grad_output, grad)


class Forgets(RNNGates):
    """Takes away what is about to be added for the step before."""

    def __init__(self, nonlinearity, weight_hh):
        super().__init__(nonlinearity)
        self.weight_hh = weight_hh

    def backward(self, kept, state, grad):
        a, u, _ = super().backward(kept, state, grad)
        return a, u, (-(u @ self.weight_hh),)


class ForgetsTheInitialState(nn.LSTM):
    """Its gradient is left at zero."""

    def backward(self, *arguments):
        grad_x, grad_h0, grad_c0 = super().backward(*arguments)
        return grad_x, np.zeros_like(grad_h0), grad_c0


class StateAfterTheStep(nn.RNN):
    """∂L/∂W_hh with h_t where h_{t−1} belongs."""

    def _run_backward(self, run, grad_output, grad):
        later = replace(run, states=[*run.states[1:], run.states[-1]])
        return super()._run_backward(later, grad_output, grad)


class Accumulates(nn.RNN):
    """The sum over the steps goes on over the calls."""

    def backward(self, *arguments):
        before = self.grad_weight_hh_l0
        found = super().backward(*arguments)
        self.grad_weight_hh_l0 = self.grad_weight_hh_l0 + before
        return found


class LeftAsItWasRead(nn.RNN):
    """The output of the second direction is not turned round again."""

    def _forward(self, x, *given):
        output, *last = super()._forward(x, *given)
        half = self.hidden_size
        return np.concatenate((output[..., :half], output[::-1, :, half:]), axis=-1), *last


class FirstDirectionOnly(nn.RNN):
    """x collects the gradient of one direction."""

    def _run_backward(self, run, grad_output, grad):
        grad_x, state = super()._run_backward(run, grad_output, grad)
        return (grad_x if run.order == 1 else np.zeros_like(grad_x)), state


class OutputOnly(nn.LSTM):
    """What the last states get from above is not looked at."""

    def backward(self, x, h0, c0, grad_output, grad_hn, grad_cn):
        return super().backward(x, h0, c0, grad_output, np.zeros_like(grad_hn), grad_cn)


def with_gates(base, gates):
    """A cell that does something else with what x and h were mapped to."""

    class Cell(base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.gates = gates

    Cell.__name__ = type(gates).__name__
    return Cell


class OtherOrder(LSTMGates):
    """i, o, f, g: ONNX's."""

    def forward(self, a, u, state):
        i, o, f, g = np.split(a + u, 4, axis=-1)
        return super().forward(np.concatenate((i, f, g, o), axis=-1), 0.0, state)


class GradientsSwapped(LSTMGates):
    """The gradients of f and g are put in each other's place."""

    def backward(self, kept, state, grad):
        a, _, past = super().backward(kept, state, grad)
        i, f, g, o = np.split(a, 4, axis=-1)
        a = np.concatenate((i, g, f, o), axis=-1)
        return a, a, past


class ThroughTheOutputOnly(LSTMGates):
    """The gradient of the new c as of something that only h is made of."""

    def backward(self, kept, state, grad):
        return super().backward(kept, state, (grad[0], np.zeros_like(grad[1])))


class ResetBefore(nn.GRUCell):
    """The paper's first version: the hidden state is reset, then mapped."""

    def forward(self, x, h):
        sigmoid = nn.Sigmoid().forward
        a_r, a_z, a_n = np.split(x @ self.weight_ih.T + self.bias_ih + self.bias_hh, 3, axis=-1)
        w_r, w_z, w_n = np.split(self.weight_hh, 3)
        n = np.tanh(a_n + (sigmoid(a_r + h @ w_r.T) * h) @ w_n.T)
        z = sigmoid(a_z + h @ w_z.T)
        return (1 - z) * n + z * h


class OneGradientForBoth(GRUGates):
    """U = A, as it is in the other cells: the reset gate is forgotten."""

    def backward(self, kept, state, grad):
        a, _, past = super().backward(kept, state, grad)
        return a, a, past


class UpdateGateConstant(GRUGates):
    def backward(self, kept, state, grad):
        a, u, (past,) = super().backward(kept, state, grad)
        return a, u, (np.zeros_like(past),)


class DerivativeOfTheSlope(RNNGates):
    """1 − a² in place of 1 − tanh(a)²."""

    def forward(self, a, u, state):
        new, _ = super().forward(a, u, state)
        return new, (a + u,)


MISTAKES = [
    ("RNN", OnlyTheStepItself, {}, "backward-wrong", "grad_x"),
    ("RNN", OnlyTheStepItself, {}, "backward-wrong", "grad_h0"),
    ("LSTM", ForgetsTheInitialState, {}, "backward-wrong", "grad_h0"),
    ("RNN", StateAfterTheStep, {}, "backward-wrong", "grad_weight_hh_l0"),
    ("RNN", Accumulates, {}, "convention-mismatch", "contract: second call gives the same"),
    ("RNN", LeftAsItWasRead, {"bidirectional": True}, "forward-wrong", "output"),
    ("RNN", FirstDirectionOnly, {"bidirectional": True}, "backward-wrong", "grad_x"),
    ("LSTM", OutputOnly, {}, "backward-wrong", "grad_h0"),
    ("LSTMCell", with_gates(nn.LSTMCell, OtherOrder()), {}, "forward-wrong", "new_h"),
    ("LSTMCell", with_gates(nn.LSTMCell, GradientsSwapped()), {}, "backward-wrong", "grad_bias_ih"),
    ("LSTMCell", with_gates(nn.LSTMCell, ThroughTheOutputOnly()), {}, "backward-wrong", "grad_c"),
    ("GRUCell", ResetBefore, {}, "forward-wrong", "new_h"),
    ("GRUCell", with_gates(nn.GRUCell, OneGradientForBoth()), {}, "backward-wrong", "grad_bias_hh"),
    ("GRUCell", with_gates(nn.GRUCell, UpdateGateConstant()), {}, "backward-wrong", "grad_h"),
    ("RNNCell", with_gates(nn.RNNCell, DerivativeOfTheSlope("tanh")), {}, "backward-wrong", "grad_x"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[f"{mistake[1].__name__}-{mistake[4]}" for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(torch, name, wrong, options, code, quantity):
    report = quick(name, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_a_gradient_without_later_states_is_right_in_a_sequence_of_one_step(torch):
    check = partial(quick, "RNN", OnlyTheStepItself, options={}, against=("torch", "numeric"))
    quantities = {f.quantity for f in check(sizes={"length": 1}).findings}
    assert quantities == {"grad_h0"}


# --- JAX's libraries --------------------------------------------------------------------------


def blocks(names, array):
    """Rows in blocks by name, as kernels (in, out) or biases."""
    return {name: part.T for name, part in zip(names, np.split(array, len(names)), strict=True)}


def flax_parameters(kind, weight_ih, weight_hh, bias_ih, bias_hh):
    """PyTorch's arrays where flax's cells have a place for them; numpy or JAX arrays."""
    if kind == "RNN":
        return {
            "i": {"kernel": weight_ih.T, "bias": bias_ih + bias_hh},
            "h": {"kernel": weight_hh.T},
        }
    names = "ifgo" if kind == "LSTM" else "rzn"
    given = {}
    for side, array in (("i", weight_ih), ("h", weight_hh)):
        for name, kernel in blocks(names, array).items():
            given[side + name] = {"kernel": kernel}
    if kind == "LSTM":
        for name, bias in blocks(names, bias_ih + bias_hh).items():
            given["h" + name]["bias"] = bias
        return given
    both, outer, inner = (blocks(names, b) for b in (bias_ih + bias_hh, bias_ih, bias_hh))
    for name in "rz":
        given["i" + name]["bias"] = both[name]
    given["in"]["bias"], given["hn"]["bias"] = outer["n"], inner["n"]
    return given


def flax_cell(linen, kind, features):
    cell = {"RNN": "SimpleCell", "LSTM": "OptimizedLSTMCell", "GRU": "GRUCell"}[kind]
    return getattr(linen, cell)(features, param_dtype=np.float64)


@pytest.mark.parametrize("kind", LAYERS)
def test_flax_cells(linen, kind):
    """They have fewer biases, and a carry of (c, h); see the ledger."""

    def step(x, h, c=None, **parameters):
        cell = flax_cell(linen, kind, h.shape[-1])
        given = {"params": flax_parameters(kind, **parameters)}
        carry, output = cell.apply(given, (c, h) if kind == "LSTM" else h, x)
        return (output, carry[0]) if kind == "LSTM" else output

    case = next(cases(crosscheck.catalogue[f"{kind}Cell"], dtypes=("float64",)))
    report = check_cases(case.problem.layer, [case], step, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_equinox_cells(eqx, kind):
    def step(x, h, c=None, *, weight_ih, weight_hh, bias_ih, bias_hh):
        import jax
        import jax.numpy as jnp

        cell = getattr(eqx.nn, f"{kind}Cell")(x.shape[-1], h.shape[-1], key=jax.random.key(0))
        if kind == "LSTM":
            given = [weight_ih, weight_hh, bias_ih + bias_hh]
        else:
            split = 2 * h.shape[-1]
            joined = bias_ih.at[:split].add(bias_hh[:split])
            given = [weight_ih, weight_hh, joined, bias_hh[split:]]
        cell = eqx.tree_at(
            lambda m: [m.weight_ih, m.weight_hh, m.bias, *([m.bias_n] if kind == "GRU" else [])],
            cell,
            given,
        )
        new = jax.vmap(cell)(x, (h, c) if kind == "LSTM" else h)
        return new if kind == "LSTM" else jnp.asarray(new)

    case = next(cases(crosscheck.catalogue[f"{kind}Cell"], dtypes=("float64",)))
    report = check_cases(case.problem.layer, [case], step, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_flax_in_two_directions(linen):
    """flax.linen.RNN takes (batch, length, features), and turns its output only if asked to."""

    def sequence(x, h0, **parameters):
        import jax.numpy as jnp

        found = []
        for number, suffix in enumerate(("_l0", "_l0_reverse")):
            cell = flax_cell(linen, "GRU", h0.shape[-1])
            own = {k.removesuffix(suffix): v for k, v in parameters.items() if k.endswith(suffix)}
            given = {"params": {"cell": flax_parameters("GRU", **own)}}
            layer = linen.RNN(
                cell, time_major=True, return_carry=True, reverse=bool(number), keep_order=True
            )
            found.append(layer.apply(given, x, initial_carry=h0[number]))
        carries, outputs = zip(*found, strict=True)
        return jnp.concatenate(outputs, axis=-1), jnp.stack(carries)

    case = next(
        cases(crosscheck.catalogue["GRU"], options={"bidirectional": True}, dtypes=("float64",))
    )
    report = check_cases(case.problem.layer, [case], sequence, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def ledger_says(slug):
    return crosscheck.ledger()[slug].measure()[1]


def test_the_ledger_says_what_flax_does(linen):
    from crosscheck.families import recurrent
    from crosscheck.families import recurrent_cells as cells

    nothing = np.zeros(8)
    rows = {"RNN": 2, "LSTM": 8, "GRU": 6}
    for kind, b_ih, b_hh in (
        ("RNN", cells._B_IH, nothing),
        ("LSTM", nothing, cells._B_HH),
        ("GRU", cells._B_IH, np.where(np.arange(8) < 4, 0, cells._B_HH)),
    ):
        arrays = [a[: rows[kind]] for a in (cells._W_IH, cells._W_HH, b_ih, b_hh)]
        cell = flax_cell(linen, kind, 2)
        given = {"params": flax_parameters(kind, *arrays)}
        carry = (cells._C, cells._H) if kind == "LSTM" else cells._H
        _, output = cell.apply(given, carry, cells._X)
        expected = ledger_says(f"{kind.lower()}-cell-biases")
        np.testing.assert_allclose(output, expected, rtol=1e-12)
    arrays = cells._W_IH, cells._W_HH, cells._B_IH, cells._B_HH
    given = {"params": flax_parameters("LSTM", *arrays)}
    first, _ = flax_cell(linen, "LSTM", 2).apply(given, (cells._C, cells._H), cells._X)[0]
    np.testing.assert_allclose(first, ledger_says("lstm-cell-carry"), rtol=1e-12)
    given = {
        "params": {
            "cell": flax_parameters("RNN", recurrent._W_IH, recurrent._W_HH, *np.zeros((2, 2)))
        }
    }
    for slug, x, options in (
        ("sequence-axes", recurrent._X, {}),
        ("sequence-backwards", recurrent._X, {"reverse": True, "time_major": True}),
    ):
        output = linen.RNN(flax_cell(linen, "RNN", 2), **options).apply(given, x)
        np.testing.assert_allclose(output, ledger_says(slug), rtol=1e-12)


def test_the_ledger_says_what_haiku_does(hk):
    import jax

    from crosscheck.families import recurrent_cells as cells

    def run(make, parameters, state):
        step = hk.without_apply_rng(hk.transform(lambda x, s: make()(x, s)[0]))
        (name,) = step.init(jax.random.key(0), cells._X, state)
        return step.apply({name: parameters}, cells._X, state)

    rows = np.concatenate((cells._W_IH, cells._W_HH), axis=1)
    lstm = {"w": rows.T, "b": cells._B_IH + cells._B_HH}
    output = run(lambda: hk.LSTM(2), lstm, hk.LSTMState(cells._H, cells._C))
    np.testing.assert_allclose(output, ledger_says("lstm-cell-gate-order"), rtol=1e-12)

    for slug, w_hh, sign in (
        ("gru-cell-reset", cells._W_HH, -1),
        ("gru-cell-update", cells._NOTHING_TO_RESET, 1),
    ):
        order = [2, 3, 0, 1, 4, 5]  # z, r, n
        signs = np.array([sign, sign, 1, 1, 1, 1])
        parameters = {
            "w_i": (cells._W_IH[order] * signs[:, None]).T,
            "w_h": (w_hh[order] * signs[:, None]).T,
            "b": cells._B_IH[order] * signs,
        }
        output = run(lambda: hk.GRU(2), parameters, cells._H)
        np.testing.assert_allclose(output, ledger_says(slug), rtol=1e-12)


# --- without a state, at the ends, refused ----------------------------------------------------


@pytest.mark.parametrize("name", [*CELLS, *LAYERS])
def test_no_state_is_a_state_of_zeros(name):
    case = next(cases(crosscheck.catalogue[name], dtypes=("float64",)))
    arrays, p = case.arrays(), case.problem
    layer = getattr(nn, name)(p.input_size, p.hidden_size)
    state = [name for name in p.inputs if name != "x"]
    zeros = [np.zeros_like(arrays[name]) for name in state]
    upstream = case.upstream().values()
    np.testing.assert_equal(layer.forward(arrays["x"]), layer.forward(arrays["x"], *zeros))
    without = layer.backward(arrays["x"], *(None for _ in state), *upstream)
    np.testing.assert_equal(without, layer.backward(arrays["x"], *zeros, *upstream))


def test_no_upstream_gradient_is_one_of_zeros():
    rng = np.random.default_rng(0)
    layer, x = nn.LSTM(3, 2, rng=rng), rng.standard_normal((4, 2, 3))
    grad_hn, zeros = rng.standard_normal((1, 2, 2)), np.zeros((1, 2, 2))
    without = layer.backward(x, None, None, None, grad_hn)
    given = layer.backward(x, None, None, np.zeros((4, 2, 2)), grad_hn, zeros)
    np.testing.assert_equal(without, given)
    assert all(np.abs(gradient).max() > 0 for gradient in given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*CELLS, *LAYERS])
def test_nothing_overflows_far_out(name, dtype):
    case = next(cases(crosscheck.catalogue[name], dtypes=("float64",)))
    p = case.problem
    layer = getattr(nn, name)(p.input_size, p.hidden_size, rng=np.random.default_rng(0))
    for parameter, array in layer.parameters().items():
        setattr(layer, parameter, array.astype(dtype))
    for scale in (1e4, -1e4, 1e30, -1e30):
        x, *state = (scale * case.arrays()[name].astype(dtype) for name in p.inputs)
        upstream = [array.astype(dtype) for array in case.upstream().values()]
        with np.errstate(all="raise", under="ignore"):
            outputs = layer.forward(x, *(s / dtype(scale) for s in state))
            found = layer.backward(x, *(s / dtype(scale) for s in state), *upstream)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for array in (*outputs, *found, *layer.get_params()[1]):
            assert np.isfinite(array).all() and array.dtype == dtype


X, H = np.zeros((4, 2, 3)), np.zeros((1, 2, 5))
REFUSED = [
    (lambda: nn.RNN(3, 5, nonlinearity="sin"), "RNN: nonlinearity='sin' is not one of 'tanh', 'relu'"),
    (lambda: nn.RNNCell(3, 5, nonlinearity="sin"), "RNNCell: nonlinearity='sin'"),
    (lambda: nn.GRU(3, 5, dropout=0.5), "GRU: dropout=0.5 is not one of 0.0"),
    (lambda: nn.LSTM(3, 5, proj_size=2), "LSTM: proj_size=2 is not one of 0"),
    (lambda: nn.LSTM(3, 5, num_layers=0), "LSTM: num_layers=0 must be 1 or more"),
    (lambda: nn.RNN(4, 5).forward(X), r"RNN: expected x .* \(length, samples, 4\) .* \(4, 2, 3\)"),
    (lambda: nn.RNN(3, 5).forward(X[:, 0]), r"RNN: expected x .* got shape \(4, 3\)"),
    (lambda: nn.GRU(3, 5).forward(X[:0]), "GRU: .* one step or more"),
    (lambda: nn.LSTM(4, 5, batch_first=True).forward(X), r"\(samples, length, 4\)"),
    (lambda: nn.LSTM(3, 5).forward(X, H[0]), r"LSTM: h0 has shape \(2, 5\), expected \(1, 2, 5\)"),
    (lambda: nn.LSTM(3, 5).forward(X, H, H[:, :1]), r"LSTM: c0 has shape \(1, 1, 5\)"),
    (lambda: nn.GRU(3, 5).backward(X, None, X), r"GRU: grad_output has .* expected \(4, 2, 5\)"),
    (lambda: nn.GRUCell(3, 5).forward(X), r"GRUCell: expected x of shape \(samples, 3\)"),
    (lambda: nn.GRUCell(3, 5).forward(X[0], H), r"GRUCell: h has shape \(1, 2, 5\)"),
    (lambda: nn.LSTMCell(3, 5).forward(X[0], H[0], H), r"LSTMCell: c has shape \(1, 2, 5\)"),
    (lambda: nn.RNNCell(3, 5).backward(X[0], H[0], X[0]), r"RNNCell: grad_h has shape \(2, 3\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("number", [0, -1, "two", 1.5])
def test_a_number_of_layers_that_is_none_is_refused(number):
    with pytest.raises(
        crosscheck.errors.UsageError, match="num_layers=.* a whole number, 1 or more"
    ):
        crosscheck.check("LSTM", options={"num_layers": number})
