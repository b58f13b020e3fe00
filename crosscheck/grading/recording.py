"""Recorded oracles: what the frameworks answered, in one file, so that checking needs NumPy only.

While a record is made, every call of an oracle is kept under a digest of what it was given. Asked the
same again, a recorded oracle gives the same answer, to the bit. What decides marks is always recorded
(`Record.require`); to what a diagnosis asks beyond, reference_nn answers, or nobody.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.errors import CaseError
from crosscheck.evaluation import Bound, Evaluation, Implementation, ImplementationError
from crosscheck.panel import Panel
from crosscheck.sampling import evened, redraw
from crosscheck.spec import Array, Problem, Values

FORMAT = "crosscheck-oracle"
FORMAT_VERSION = 1
#: How often a point too close to a kink may be drawn anew; as in `crosscheck.checking`.
REDRAWS = 4

#: An oracle's answer: arrays, or what it raised.
Answer = Evaluation | str


@dataclass
class Record:
    """The answers of a set of oracles.

    Attributes:
        answers: oracle → digest of the question → answer.
        facts: what it was made for: the exercise, the seed, the versions; plain data.
    """

    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def oracles(
        self, prefix: str = "", beyond: Implementation | None = None
    ) -> dict[str, Implementation]:
        """The recorded oracles by name, for `crosscheck.checking.check_cases`.

        Args:
            prefix: of several layers' oracles, those whose names begin so.
            beyond: who answers what was not recorded.
        """
        return {
            name.removeprefix(prefix): Recorded(name.removeprefix(prefix), answers, beyond)
            for name, answers in self.answers.items()
            if name.startswith(prefix)
        }

    def require(self, cases: Iterable[Case], prefix: str = "") -> None:
        """Nothing, if all oracles under a prefix have answered these cases.

        Raises:
            CaseError: the record was made for others.
        """
        for case in cases:
            asked = question(
                case.problem, case.arrays(memory="plain"), case.upstream(memory="plain")
            )
            for name, answers in self.answers.items():
                if name.startswith(prefix) and asked not in answers:
                    raise CaseError(
                        f"the record holds no answer of {name.removeprefix(prefix)} for "
                        f"{case.problem!r}: it was made for another exercise, another seed or "
                        "another version of crosscheck or NumPy; record it again"
                    )

    def listen(self, oracles: Mapping[str, Implementation]) -> dict[str, Implementation]:
        """The same oracles, every answer of theirs kept here."""
        return {
            name: _Listened(oracle, self.answers.setdefault(name, {}))
            for name, oracle in oracles.items()
        }

    def to_bytes(self) -> bytes:
        """As an ``.npz`` without pickle: all numbers of one dtype in one flat array."""
        flat: dict[str, list[Array]] = {}
        lengths: dict[str, int] = {}

        def put(array: Array) -> list[Any]:
            # 0-dimensional arrays stay 0-dimensional, which ascontiguousarray would not keep.
            plain = np.array(array, order="C")
            code = plain.dtype.str.lstrip("<>=|")
            start = lengths.get(code, 0)
            flat.setdefault(code, []).append(plain.ravel())
            lengths[code] = start + plain.size
            return [code, start, [*plain.shape]]

        def packed(answer: Answer) -> Any:
            if isinstance(answer, str):
                return answer
            groups = answer.outputs, answer.gradients
            return [{k: put(a) for k, a in group.items()} for group in groups] + [
                dict(answer.absent)
            ]

        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "facts": self.facts,
            "answers": {
                name: {digest: packed(answer) for digest, answer in sorted(answers.items())}
                for name, answers in self.answers.items()
            },
        }
        arrays = {code: np.concatenate(parts) for code, parts in flat.items()}
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, header=text, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, called: str = "the record") -> Record:
        """Back from `to_bytes`.

        Raises:
            CaseError: it is no record, damaged, or of an unknown format version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                flat = {name: archive[name] for name in archive.files if name != "header"}
            if header.get("format") != FORMAT:
                raise CaseError(f"{called} is no record of oracles")
            if header.get("format_version") != FORMAT_VERSION:
                raise CaseError(
                    f"{called} has format {header.get('format_version')}; this version of "
                    f"crosscheck reads {FORMAT_VERSION}: record it again"
                )

            def get(where: Sequence[Any]) -> Array:
                code, start, shape = where
                size = int(np.prod(shape, dtype=np.int64))
                found: Array = flat[code][start : start + size].reshape(shape)
                return found

            def unpacked(answer: Any) -> Answer:
                if isinstance(answer, str):
                    return answer
                outputs, gradients = ({k: get(w) for k, w in g.items()} for g in answer[:2])
                return Evaluation(outputs, gradients, answer[2])

            answers = {
                name: {digest: unpacked(answer) for digest, answer in group.items()}
                for name, group in header["answers"].items()
            }
            return cls(answers, header["facts"])
        except CaseError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError,
                zipfile.BadZipFile) as error:  # fmt: skip
            raise CaseError(f"{called} is no readable record of oracles: {error}") from None
        except Exception as error:  # zlib.error and friends: damaged content
            raise CaseError(f"{called} is damaged: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it, whole or not at all.

        Raises:
            CaseError: it cannot be written.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
                handle.write(self.to_bytes())
            Path(handle.name).chmod(0o644)
            os.replace(handle.name, target)
        except OSError as error:
            raise CaseError(f"cannot write {target}: {error.strerror or error}") from None
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Record:
        """Read one.

        Raises:
            CaseError: there is none, or it is damaged.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise CaseError(f"{path}: {error.strerror or error}") from None
        return cls.from_bytes(content, str(path))


def rehearse(
    cases: Iterable[Case], oracles: Mapping[str, Implementation], subject: Implementation
) -> None:
    """Ask oracles everything that a check of these cases may ask them.

    Args:
        cases: those of the check; each is also drawn anew as often as one near a kink may be,
            and asked with a square kernel if it has one.
        oracles: what `Record.listen` gave.
        subject: any right implementation, the first oracle for one. It is bound, not judged.
    """
    panel = Panel(subject=subject, oracles=oracles, numeric=False)
    seen: set[tuple[Any, ...]] = set()
    for case in cases:
        square = evened(case)  # for who takes one number for all axes of a kernel
        versions = [case] if square is None else [case, square]
        if case.seed is not None and not case.at_kink:
            versions += [_redrawn(v, n) for v in [*versions] for n in range(1, REDRAWS + 1)]
        for version in versions:
            asked = question(version.problem, version.values)
            key = (version.problem.key(), version.dtype, version.kind, asked)
            if key in seen:
                continue
            seen.add(key)
            hearing = panel.hear(version)
            ones = {k: np.ones_like(a) for k, a in version.upstream().items()}
            for name in oracles:
                hearing.oracle_answer(name, version.dtype)
                bound = hearing.bound[name]
                if not isinstance(bound, ImplementationError):
                    _asked(bound, version.arrays(memory="plain"), ones)  # a diagnosis asks this


def _asked(bound: Bound, values: Values, cotangents: Values) -> None:
    try:
        bound.vjp(values, cotangents)
    except ImplementationError:
        pass


def _redrawn(case: Case, attempt: int) -> Case:
    fresh = redraw(case, attempt)
    return case.with_values(values=fresh.values, cotangents=fresh.cotangents)


def question(problem: Problem, values: Values, cotangents: Values | None = None) -> str:
    """A digest of everything that an answer depends on."""
    digest = hashlib.blake2b(digest_size=16)
    sizes = sorted(problem.sizes.items())
    options = sorted((k, repr(v)) for k, v in problem.options.items())
    digest.update(repr((problem.layer.name, options, sizes)).encode())
    for group in (values, cotangents or {}):
        for name in sorted(group):
            array = group[name]
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        digest.update(b"|")
    return digest.hexdigest()


class Recorded:
    """An oracle that answers out of a record."""

    def __init__(
        self, name: str, answers: Mapping[str, Answer], beyond: Implementation | None = None
    ) -> None:
        self._name = name
        self.answers = answers
        self.beyond = beyond

    @property
    def name(self) -> str:
        """The oracle's name."""
        return self._name

    def bind(self, problem: Problem) -> RecordedBound:
        """Costs nothing."""
        return RecordedBound(self, problem)


class RecordedBound:
    """A recorded oracle bound to a problem."""

    def __init__(self, oracle: Recorded, problem: Problem) -> None:
        self.oracle = oracle
        self.problem = problem

    def forward(self, values: Values) -> Mapping[str, Array]:
        """No record holds a forward pass alone."""
        return self._beyond().forward(values)

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """What the oracle answered when this was recorded.

        Raises:
            ImplementationError: it had raised, or it was never asked and nobody else can be.
        """
        answer = self.oracle.answers.get(question(self.problem, values, cotangents))
        if answer is None:
            return self._beyond().vjp(values, cotangents)
        if isinstance(answer, str):
            raise ImplementationError(answer)
        return answer

    def _beyond(self) -> Bound:
        if self.oracle.beyond is None:
            raise ImplementationError(f"the record of {self.oracle.name} holds no answer to this")
        return self.oracle.beyond.bind(self.problem)


class _Listened:
    """An oracle whose answers are kept."""

    def __init__(self, oracle: Implementation, answers: dict[str, Answer]) -> None:
        self.oracle = oracle
        self.answers = answers

    @property
    def name(self) -> str:
        return self.oracle.name

    def bind(self, problem: Problem) -> _ListenedBound:
        return _ListenedBound(self.oracle.bind(problem), problem, self.answers)


class _ListenedBound:
    def __init__(self, bound: Bound, problem: Problem, answers: dict[str, Answer]) -> None:
        self.bound = bound
        self.problem = problem
        self.answers = answers

    def forward(self, values: Values) -> Mapping[str, Array]:
        return self.bound.forward(values)

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        key = question(self.problem, values, cotangents)
        try:
            found = self.bound.vjp(values, cotangents)
        except ImplementationError as error:
            self.answers[key] = str(error)
            raise
        self.answers[key] = Evaluation(
            {k: np.array(a) for k, a in found.outputs.items()},
            {k: np.array(a) for k, a in found.gradients.items()},
            dict(found.absent),
        )
        return found
