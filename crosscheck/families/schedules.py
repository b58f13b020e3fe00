"""Learning-rate schedules, and gradient clipping: what surrounds an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import POSITIVE, indices
from crosscheck.implementations.optimizer_convention import clipping, schedule
from crosscheck.spec import Array, Layer, Problem, Tensor

#: Past the end of every schedule below but the one that refuses it.
LAST = 30
#: Steps asked for in a case.
ASKED = 16


def torch_rates(make: Callable[[Any], Any], lr: float, steps: int) -> list[float]:
    """The rates of a torch schedule at steps 0, 1, …, as its optimizer has them.

    Args:
        make: from a ``torch.optim.Optimizer`` to the scheduler.
    """
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=lr)
    made = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        if len(rates) < steps:
            optimizer.step()
            made.step()
    return rates


def _entry(
    name: str,
    options: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    jax: Callable[[Problem, Any], Any],
    torch: Callable[[Problem, Any, float], Any] | None = None,
    end: Callable[[Problem], int] = lambda p: LAST,
) -> Layer:
    """The entry of a schedule: a learning rate and steps to the rates at them.

    Args:
        name, options: as in torch.optim.lr_scheduler.
        variants: as in `Layer`.
        jax: from the problem and the rate to the optax schedule.
        torch: from the problem, the optimizer and the rate to the scheduler; by default the class
            of the name with all options but ``convention``.
        end: the first step that is not asked for.
    """

    def scheduler(p: Problem, optimizer: Any, lr: float) -> Any:
        import torch as framework

        keywords = {k: v for k, v in p.options.items() if k != "convention"}
        return getattr(framework.optim.lr_scheduler, name)(optimizer, **keywords)

    def torch_twin(p: Problem) -> Any:
        def run(lr: Any, step: Any) -> Any:
            rate = float(lr)
            make = torch or scheduler
            rates = torch_rates(lambda o: make(p, o, rate), rate, int(step.max()) + 1)
            return lr.new_tensor([rates[int(s)] for s in step])

        return run

    def jax_twin(p: Problem, lr: Any, step: Any) -> Any:
        import jax.numpy as jnp

        return jnp.broadcast_to(jnp.asarray(jax(p, lr)(step), lr.dtype), step.shape)

    return Layer(
        name,
        inputs={
            "lr": Tensor("", POSITIVE, differentiable=False),
            "step": Tensor(f"{ASKED}", indices(end)),
        },
        outputs={"output": Tensor(f"{ASKED}", differentiable=False)},
        constructor=(lambda p: 0.1,),
        options=options,
        variants=variants,
        pairs=False,
        torch=torch_twin,
        jax=jax_twin,
        group="schedules",
        special={"first steps": _first_steps},
        follows="torch" if "convention" in options else None,
        convention=schedule,
        needs={"jax": ("optax",)},
    )


def _first_steps(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """Every step from the first on, so that no boundary is missed."""
    tensor = p.inputs["step"]
    most = int(tensor.domain.draw(np.random.default_rng(0), (1000,), p).max())
    return {**values, "step": np.minimum(np.arange(ASKED), most)}


def _constant(p: Problem, lr: Any) -> Any:
    import optax

    if p.factor == 0:
        return optax.join_schedules([lambda count: lr * 0.0, lambda count: lr], [p.total_iters])
    return optax.piecewise_constant_schedule(lr * p.factor, {p.total_iters: 1 / p.factor})


def _linear(p: Problem, lr: Any) -> Any:
    import optax

    return optax.linear_schedule(lr * p.start_factor, lr * p.end_factor, p.total_iters)


def _exponential(p: Problem, lr: Any) -> Any:
    import optax

    return optax.exponential_decay(lr, 1, p.gamma)


def _step(p: Problem, lr: Any) -> Any:
    import optax

    return optax.exponential_decay(lr, p.step_size, p.gamma, staircase=True)


def _multistep(p: Problem, lr: Any) -> Any:
    import optax

    return optax.piecewise_constant_schedule(lr, {m: p.gamma for m in p.milestones})


def _polynomial(p: Problem, lr: Any) -> Any:
    import optax

    return optax.polynomial_schedule(lr, 0.0, p.power, p.total_iters)


def _cosine(p: Problem, lr: Any) -> Any:
    import optax

    down = optax.cosine_decay_schedule(lr, p.T_max, alpha=p.eta_min / lr)
    if p.convention == "jax":
        return down

    def on(count: Any) -> Any:
        """Past T_max the way back: the same schedule, mirrored, again and again."""
        import jax.numpy as jnp

        at = count % (2 * p.T_max)
        return down(jnp.minimum(at, 2 * p.T_max - at))

    return on


def _torch_cosine(p: Problem, optimizer: Any, lr: float) -> Any:
    import torch

    if p.convention == "torch":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, p.T_max, p.eta_min)

    def factor(t: int) -> float:
        share: float = (1 + math.cos(math.pi * min(t, p.T_max) / p.T_max)) / 2
        return float((p.eta_min + (lr - p.eta_min) * share) / lr)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _restarts(p: Problem, lr: Any) -> Any:
    import optax

    periods = [p.T_0]
    while sum(periods) < LAST:
        periods.append(periods[-1] * p.T_mult)
    parts = [optax.cosine_decay_schedule(lr, period, alpha=p.eta_min / lr) for period in periods]
    return optax.join_schedules(parts, np.cumsum(periods)[:-1].tolist())


def _onecycle(p: Problem, lr: Any) -> Any:
    import jax
    import optax

    # optax's own one-cycle schedules end their phases elsewhere, see the ledger.
    ends: tuple[float, float] = (p.pct_start * p.total_steps - 1, p.total_steps - 1)
    if p.convention == "jax":
        ends = (int(p.pct_start * p.total_steps), p.total_steps)
        if p.anneal_strategy == "cos":
            own = optax.cosine_onecycle_schedule(
                p.total_steps, lr, p.pct_start, p.div_factor, p.final_div_factor
            )
            return jax.vmap(own)  # it takes one count only
    kind = "cosine" if p.anneal_strategy == "cos" else "linear"
    scales = {ends[0]: p.div_factor, ends[1]: 1 / (p.div_factor * p.final_div_factor)}
    return jax.vmap(optax.piecewise_interpolate_schedule(kind, lr / p.div_factor, scales))


def _torch_onecycle(p: Problem, optimizer: Any, lr: float) -> Any:
    import torch

    if p.convention == "torch":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=lr,
            total_steps=p.total_steps,
            pct_start=p.pct_start,
            anneal_strategy=p.anneal_strategy,
            cycle_momentum=False,
            div_factor=p.div_factor,
            final_div_factor=p.final_div_factor,
        )
    top, end = int(p.pct_start * p.total_steps), p.total_steps
    first, last = 1 / p.div_factor, 1 / (p.div_factor * p.final_div_factor)

    def factor(t: int) -> float:
        a, b, u = (first, 1.0, t / top) if t < top else (1.0, last, min(1, (t - top) / (end - top)))
        if p.anneal_strategy == "cos":
            u = (1 - math.cos(math.pi * u)) / 2
        return float(a + (b - a) * u)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _end_of_onecycle(p: Problem) -> int:
    return int(p.total_steps) if p.convention == "torch" else LAST


# --- clipping ---------------------------------------------------------------------------------

_CLIPPED = {"weight": "3 4", "bias": "4"}


def _clip_entry(
    name: str,
    options: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    torch: Callable[[Problem], Any],
    jax: Callable[..., Any],
    norm: bool,
) -> Layer:
    outputs = {f"clipped_{k}": Tensor(axes, differentiable=False) for k, axes in _CLIPPED.items()}
    if norm:
        outputs["norm"] = Tensor("", differentiable=False)
    return Layer(
        name,
        inputs={k: Tensor(axes, differentiable=False) for k, axes in _CLIPPED.items()},
        outputs=outputs,
        options=options,
        variants=variants,
        torch=torch,
        jax=jax,
        pairs=False,
        group="clipping",
        follows="torch" if "convention" in options else None,
        convention=clipping,
        needs={"jax": ("optax",)},
    )


def _torch_clipped(clip: Callable[[Problem, list[Any]], Any]) -> Callable[[Problem], Any]:
    def twin(p: Problem) -> Any:
        def run(**tensors: Any) -> dict[str, Any]:
            import torch

            leaves = [torch.nn.Parameter(tensor) for tensor in tensors.values()]
            for leaf in leaves:
                leaf.grad = leaf.detach().clone()
            norm = clip(p, leaves)
            found = {f"clipped_{k}": leaf.grad for k, leaf in zip(tensors, leaves, strict=True)}
            return found if norm is None else {**found, "norm": norm}

        return run

    return twin


def _torch_by_norm(p: Problem, leaves: list[Any]) -> Any:
    import torch

    if p.convention == "torch":
        return torch.nn.utils.clip_grad_norm_(leaves, p.max_norm, p.norm_type)
    gradients = [leaf.grad for leaf in leaves]
    norm = torch.nn.utils.get_total_norm(gradients, p.norm_type)
    for gradient in gradients:
        gradient.mul_(torch.clamp(p.max_norm / norm, max=1.0))
    return norm


def _torch_by_value(p: Problem, leaves: list[Any]) -> None:
    import torch

    torch.nn.utils.clip_grad_value_(leaves, p.clip_value)


def _jax_by_norm(p: Problem, **gradients: Any) -> dict[str, Any]:
    import jax.numpy as jnp
    import optax

    every = jnp.concatenate([g.ravel() for g in gradients.values()])
    norm = jnp.linalg.norm(every, p.norm_type)
    if p.convention == "jax" and p.norm_type == 2:
        made, _ = optax.clip_by_global_norm(p.max_norm).update(gradients, optax.EmptyState())
    else:
        small = 1e-6 if p.convention == "torch" else 0.0
        factor = jnp.minimum(1.0, p.max_norm / (norm + small))
        made = {k: g * factor for k, g in gradients.items()}
    return {**{f"clipped_{k}": g for k, g in made.items()}, "norm": norm}


def _jax_by_value(p: Problem, **gradients: Any) -> dict[str, Any]:
    import optax

    made, _ = optax.clip(p.clip_value).update(gradients, optax.EmptyState())
    return {f"clipped_{k}": g for k, g in made.items()}


def _rates(torch: Callable[[Any], Any], jax: Callable[[], Any], steps: int) -> Any:
    """For the ledger: both schedules at the steps 0, 1, …; lr is 0.1."""

    def measure() -> tuple[Array, Array]:
        from crosscheck.implementations.jax_function import import_jax

        jax_module = import_jax()
        with jax_module.enable_x64(True):
            made = jax()
            theirs = np.array([float(made(step)) for step in range(steps)])
        return np.array(torch_rates(torch, 0.1, steps)), theirs

    return measure


def _measure_clip() -> tuple[Array, Array]:
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    import optax

    given = np.array([3.0, 4.0])
    leaf = torch.nn.Parameter(torch.from_numpy(given.copy()))
    leaf.grad = torch.from_numpy(given.copy())
    torch.nn.utils.clip_grad_norm_([leaf], 1.0)
    with jax.enable_x64(True):
        clipped, _ = optax.clip_by_global_norm(1.0).update(given, optax.EmptyState())
        return leaf.grad.numpy(), np.asarray(clipped)


def _schedulers() -> Any:
    import torch

    return torch.optim.lr_scheduler


def _optax() -> Any:
    import optax

    return optax


_ONE_CYCLE = {
    "total_steps": 12,
    "pct_start": 0.3,
    "anneal_strategy": "cos",
    "div_factor": 25.0,
    "final_div_factor": 1e4,
    "convention": "torch",
}

LAYERS = (
    _entry("ConstantLR", {"factor": 1 / 3, "total_iters": 5}, ({"factor": 0.7},), _constant),
    _entry(
        "LinearLR",
        {"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5},
        ({"start_factor": 1.0, "end_factor": 0.1, "total_iters": 9},),
        _linear,
    ),
    _entry("ExponentialLR", {"gamma": 0.9}, ({"gamma": 1.1},), _exponential),
    _entry("StepLR", {"step_size": 3, "gamma": 0.1}, ({"step_size": 4, "gamma": 0.7},), _step),
    _entry(
        "MultiStepLR",
        {"milestones": (3, 7), "gamma": 0.1},
        ({"milestones": (1, 4, 20), "gamma": 0.6},),
        _multistep,
    ),
    _entry(
        "PolynomialLR",
        {"total_iters": 5, "power": 1.0},
        ({"total_iters": 11, "power": 2.0},),
        _polynomial,
    ),
    _entry(
        "CosineAnnealingLR",
        {"T_max": 5, "eta_min": 0.0, "convention": "torch"},
        ({"T_max": 11, "eta_min": 0.05}, {"convention": "jax", "eta_min": 0.05}),
        _cosine,
        _torch_cosine,
    ),
    _entry(
        "CosineAnnealingWarmRestarts",
        {"T_0": 4, "T_mult": 1, "eta_min": 0.0},
        ({"T_0": 3, "T_mult": 2, "eta_min": 0.05},),
        _restarts,
    ),
    _entry(
        "OneCycleLR",
        _ONE_CYCLE,
        (
            {"total_steps": 20, "anneal_strategy": "linear", "pct_start": 0.4},
            {"convention": "jax"},
            {"convention": "jax", "anneal_strategy": "linear"},
        ),
        _onecycle,
        _torch_onecycle,
        _end_of_onecycle,
    ),
    _clip_entry(
        "clip_grad_norm_",
        {"max_norm": 1.0, "norm_type": 2.0, "convention": "torch"},
        (
            {"max_norm": 100.0},
            {"norm_type": math.inf},
            {"norm_type": 1.0},
            {"convention": "jax"},
        ),
        _torch_clipped(_torch_by_norm),
        _jax_by_norm,
        norm=True,
    ),
    _clip_entry(
        "clip_grad_value_",
        {"clip_value": 0.5},
        ({"clip_value": 100.0},),
        _torch_clipped(_torch_by_value),
        _jax_by_value,
        norm=False,
    ),
)

LEDGER = (
    Difference(
        "cosine-past-its-end",
        "CosineAnnealingLR",
        "The cosine past its end.",
        torch="rises again, to lr at 2·T_max",
        jax="stays (optax.cosine_decay_schedule)",
        measure=_rates(
            lambda o: _schedulers().CosineAnnealingLR(o, 4),
            lambda: _optax().cosine_decay_schedule(0.1, 4),
            8,
        ),
        option="convention",
    ),
    Difference(
        "onecycle-phases",
        "OneCycleLR",
        "Where the phases of one cycle end, over as many steps.",
        torch="at pct_start·N − 1 and N − 1, a step later raises",
        jax="at ⌊pct_start·N⌋ and N, then it stays (optax.cosine_onecycle_schedule)",
        measure=_rates(
            lambda o: _schedulers().OneCycleLR(o, 0.1, total_steps=10, cycle_momentum=False),
            lambda: _optax().cosine_onecycle_schedule(10, 0.1),
            10,
        ),
        option="convention",
    ),
    Difference(
        "clip-norm-small-number",
        "clip_grad_norm_",
        "The factor that clips by norm.",
        torch="max_norm/(norm + 1e-6)",
        jax="max_norm/norm (optax.clip_by_global_norm)",
        measure=_measure_clip,
        option="convention",
    ),
)
