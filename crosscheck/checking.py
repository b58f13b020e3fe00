"""The way of the data, in one function: spec → cases → evaluations → comparisons → findings → report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from crosscheck import sampling
from crosscheck.blame import judge
from crosscheck.case import DTYPES, Case
from crosscheck.causes import explain
from crosscheck.comparison import NUMERIC, Comparison, Kind, Outcome, Verdict
from crosscheck.contract import check_contract
from crosscheck.detective import investigate
from crosscheck.errors import MissingFramework, UsageError, unknown
from crosscheck.evaluation import Implementation, ImplementationError, NotOffered, OneNumber
from crosscheck.families import catalogue
from crosscheck.first_wrong_layer import first_wrong_layer
from crosscheck.implementations import ORACLES, oracle, reference
from crosscheck.implementations import subject as as_subject
from crosscheck.implementations.conventions import Calling, plausible
from crosscheck.mismatch import tell_apart
from crosscheck.networks import Network, compose, known_differences
from crosscheck.optimizer_causes import explain_step
from crosscheck.panel import Panel
from crosscheck.report import Report
from crosscheck.spec import Layer
from crosscheck.versions import install_hint, installed, version

#: Everyone who can be asked, in the order of the reports.
WITNESSES = (*ORACLES, NUMERIC)
#: Why something without a gradient is unchecked where no framework is installed.
NOBODY = "there is nobody to compare with: install PyTorch or JAX"
#: How often a point too close to a kink is drawn anew before it counts as unchecked.
REDRAWS = 4


def check(
    layer: str | Layer | Case,
    implementation: Any = None,
    *,
    against: Iterable[str] | None = None,
    options: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    dtypes: Sequence[str] = DTYPES,
    seed: int = 0,
    convention: Calling | None = None,
    extra: int = 0,
    every_element: bool = False,
    progress: Callable[[Case], None] | None = None,
) -> Report:
    """Check one implementation of a layer against every witness.

    Args:
        layer: a name in the catalogue, or a `Layer` of your own; or one `Case`, which has options,
            sizes, dtype and seed of its own.
        implementation: what to check: a class with ``forward`` and ``backward``, a
            ``torch.nn.Module`` or ``autograd.Function``, a JAX function; reference_nn's own
            layer if None. See `crosscheck.implementations.subject`.
        against: the witnesses to ask, of ``"torch"``, ``"jax"``, ``"numeric"``; by default all
            that are installed.
        options: check this option combination only, and take the implementation to be written for
            it, whether its constructor has such a parameter or not. By default all combinations
            that the layer declares and the implementation's constructor offers.
        sizes: axis name → size, for axes that should not be drawn.
        dtypes: ``"float64"``, ``"float32"`` or both.
        seed: names every random draw.
        convention: how the implementation is called: a function, or the name of a built-in
            convention; guessed by default, see `crosscheck.implementations.conventions`. Or where
            it keeps its arrays, ``{"weights": "store.kernel", "grad_weights": "slope"}``; the rest
            is guessed.
        extra: further cases with random sizes, per option combination.
        every_element: differentiate numerically element by element: exact in where an error
            is, but it costs two or more forward evaluations per element.
        progress: called with every case before it is examined.

    Returns:
        A `Report`; nothing is raised for a wrong layer. ``.require_agreement()`` raises.

    Raises:
        UsageError: an unknown layer, witness, option, axis, dtype or a seed that is no integer.
        MissingFramework: a witness was asked for by name and is not installed.
        CaseError: no sizes fit the options.
    """
    if isinstance(layer, Case):
        if options is not None or sizes is not None or extra or seed or tuple(dtypes) != DTYPES:
            raise UsageError(
                "a case has options, sizes, dtype and seed of its own: give a layer's name instead"
            )
        return check_cases(
            layer.problem.layer,
            [layer],
            implementation,
            against=against,
            convention=convention,
            every_element=every_element,
            progress=progress,
        )
    spec = catalogue[layer] if isinstance(layer, str) else layer
    if not isinstance(spec, Layer):
        raise UsageError(f"layer: expected a name or a crosscheck.Layer, got {spec!r}")
    seed = require_seed(seed)
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
    if not dtypes:
        raise UsageError("dtypes is empty: there is nothing to check")
    drawn = sampling.cases(
        spec, options=options, sizes=sizes, dtypes=dtypes, seed=seed, extra=extra
    )
    return check_cases(
        spec,
        drawn,
        implementation,
        against=against,
        convention=convention,
        every_element=every_element,
        progress=progress,
        strict=options is None,
    )


def check_cases(
    spec: Layer,
    cases: Iterable[Case],
    implementation: Any = None,
    *,
    against: Iterable[str] | None = None,
    convention: Calling | None = None,
    every_element: bool = False,
    progress: Callable[[Case], None] | None = None,
    strict: bool = False,
    oracles: Mapping[str, Implementation] | None = None,
) -> Report:
    """Check an implementation on given cases, a replayed one for instance. See `check`.

    Args:
        oracles: trusted implementations by name, asked instead of the frameworks' twins.
    """
    started = time.perf_counter()
    panel, witnesses = assemble(
        spec, implementation, against, convention, every_element, strict, oracles
    )
    comparisons: list[Comparison] = []
    notes: dict[str, None] = {}
    lacking: dict[str, list[str]] = {}
    contract_done = False
    for _, group in groupby(cases, key=lambda case: (id(case.problem), case.kind)):
        examined = [*group]
        try:
            found, examined = examine(panel, examined, progress)
        except NotOffered as missing:
            lacking.setdefault(str(missing), []).append(examined[0].problem.label())
            continue
        except ImplementationError as error:
            outcome = Outcome(Verdict.DISAGREE, kind=Kind.RAISED, reason=str(error))
            comparisons.append(
                Comparison(examined[0], "output", panel.subject.name, "itself", outcome)
            )
            break  # its constructor raises: every further case would say the same
        comparisons += found
        if not panel.oracles and not examined[0].problem.differentiable:
            nobody = Outcome(Verdict.UNCHECKED, reason=NOBODY)
            name = panel.subject.name
            comparisons += [Comparison(case, "output", name, "itself", nobody) for case in examined]
        notes |= {f"{c.quantity}: {c.reason}": None for c in found if _remark(c)}
        if not contract_done and not any(c.kind is Kind.RAISED for c in found):
            comparisons += check_contract(panel.subject, examined[0])
            contract_done = True
    for reason, labels in lacking.items():
        notes[f"not checked with {', '.join(dict.fromkeys(labels))}: {reason}"] = None
    if not comparisons and notes:
        raise UsageError("; ".join(notes))
    findings = judge(panel.subject.name, comparisons)
    if spec.convention is not None:  # no gradient to reason with: an optimizer, a schedule
        findings = [explain_step(f, panel) for f in findings]
    else:
        findings = explain(findings, comparisons, panel)
        findings = tell_apart(findings, panel.subject.name)
        findings = investigate(findings, comparisons, panel)
    if findings and isinstance(spec, Network) and is_chain(spec, implementation):
        findings = (
            first_wrong_layer(
                spec, implementation, findings, partial(check_cases, convention=convention)
            )
            + findings
        )
    notes |= dict.fromkeys(getattr(panel.subject, "notes", ()))
    return Report(
        layer=spec,
        subject=panel.subject.name,
        witnesses=witnesses,
        comparisons=tuple(comparisons),
        findings=tuple(findings),
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
        implementation=implementation,
    )


def _remark(comparison: Comparison) -> bool:
    """Whether an agreement comes with something to say; one dtype's say is enough."""
    return bool(comparison.reason) and comparison.verdict is Verdict.AGREE and (
        comparison.case.dtype == "float64"
    )  # fmt: skip


def examine(
    panel: Panel, group: list[Case], progress: Callable[[Case], None] | None
) -> tuple[list[Comparison], list[Case]]:
    """All comparisons of cases that share their values, drawn anew if they sit near a kink."""
    try:
        hearing = panel.hear(group[0])
    except OneNumber:
        even = [case for case in map(sampling.evened, group) if case is not None]
        if len(even) < len(group):
            raise
        group = even
        hearing = panel.hear(group[0])
    for attempt in range(1, REDRAWS + 1):
        if group[0].seed is None or not hearing.kink:
            break
        fresh = sampling.redraw(group[0], attempt)
        group = [
            case.with_values(values=fresh.values, cotangents=fresh.cotangents) for case in group
        ]
        hearing = panel.hear(group[0])
    found: list[Comparison] = []
    for case in group:
        if progress is not None:
            progress(case)
        found += hearing.compare(case)
    return found, group


def assemble(
    spec: Layer,
    implementation: Any,
    against: Iterable[str] | None,
    convention: Calling | None,
    every_element: bool = False,
    strict: bool = False,
    instead: Mapping[str, Implementation] | None = None,
) -> tuple[Panel, dict[str, str]]:
    """The panel of a check, and for the report what each witness is or why it is not there."""
    asked = None if against is None else tuple(against)
    if asked is not None:
        for name in asked:
            if name not in WITNESSES:
                raise unknown("witness", name, WITNESSES)
        if not asked:
            raise UsageError("against is empty: there is nobody to compare with")
    oracles: dict[str, Implementation] = dict(instead or {})
    witnesses: dict[str, str] = {name: "given" for name in oracles}
    for name in ORACLES if instead is None else ():
        if asked is not None and name not in asked:
            continue
        why = _cannot_be_asked(name, spec)
        if why is not None:
            if asked is not None:
                raise why[1]
            witnesses[name] = why[0]
            continue
        twin = oracle(name, spec)
        assert twin is not None
        if twin is not implementation and implementation != name:
            oracles[name] = twin
            witnesses[name] = version(name) or "?"
    numeric = asked is None or NUMERIC in asked
    if numeric and not spec.problem().differentiable:
        if asked == (NUMERIC,):
            raise UsageError(f"{spec.name} has no gradient: there is nothing to differentiate")
        witnesses[NUMERIC] = "does not apply (no gradient)"
    elif numeric:
        witnesses[NUMERIC] = "every element" if every_element else "random directions"
    panel = Panel(
        subject=_subject(implementation, spec, convention, strict),
        oracles=oracles,
        numeric=numeric,
        fallback=reference(spec) if implementation is not None else None,
        every_element=every_element,
        differences=known_differences(spec),
    )
    return panel, witnesses


def _cannot_be_asked(name: str, spec: Layer) -> tuple[str, Exception] | None:
    """Why a framework is not there for a layer: for the report, and for who asked for it by name."""
    if not installed(name):
        return "not installed", MissingFramework(f"{name} is not installed: {install_hint(name)}")
    for package in spec.needs.get(name, ()):
        if not installed(package):
            text = f"the {name} twin of {spec.name} needs {package}: pip install {package}"
            return f"not installed: {package}", MissingFramework(text)
    if oracle(name, spec) is None:
        return "no twin", UsageError(f"{spec.name} has no {name} twin")
    return None


def is_chain(spec: Layer, given: Any) -> bool:
    """Whether a network's subject is a list of layers, one per stage, for the harness to chain."""
    pair = isinstance(given, tuple) and plausible(given)
    return isinstance(spec, Network) and isinstance(given, list | tuple) and not pair


def _subject(given: Any, spec: Layer, convention: Calling | None, strict: bool) -> Implementation:
    if isinstance(spec, Network) and is_chain(spec, given):
        return compose(given, spec, convention)
    return as_subject(given, spec, convention, strict)


def require_seed(seed: object) -> int:
    """A seed as a non-negative integer.

    Raises:
        UsageError: it is none.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed {seed!r}: a seed is a whole number, 0 or larger")
    return seed
