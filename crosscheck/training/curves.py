"""The loss curves of all frameworks over each other, and how far apart they are, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crosscheck.errors import MissingFramework, UsageError
from crosscheck.training.trajectory import Training
from crosscheck.versions import installed

FORMATS = (".png", ".svg", ".pdf")
#: Wide lines first: where three ways are one, the narrow ones lie inside the wide.
STYLES = (
    {"linewidth": 5.0, "color": "#c9ddf0"},
    {"linewidth": 2.4, "color": "#e08a3c"},
    {"linewidth": 0.9, "color": "#1b1b1b"},
)


def require_target(path: str | Path) -> None:
    """Make sure that a picture can be drawn to a file.

    Raises:
        MissingFramework: matplotlib is not installed.
        UsageError: no such folder, or no such format.
    """
    if not installed("matplotlib"):
        raise MissingFramework(
            "plots need matplotlib, which is not installed: pip install 'crosscheck[train]'"
        )
    target = Path(path)
    if target.suffix.casefold() not in FORMATS:
        raise UsageError(f"{target}: a picture's name ends in {', '.join(FORMATS)}")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}")


def plot(training: Training, path: str | Path) -> Path:
    """Draw to a file; its ending says the format (.png, .svg, .pdf).

    Above, the loss before each step. Below, the largest difference of any weight between each two
    witnesses, in units of what rounding explains: at 1 they would disagree.

    Raises:
        MissingFramework: matplotlib is not installed.
        UsageError: the file cannot be written, or no such format.
    """
    require_target(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    exact = [
        (who, losses) for (who, dtype), losses in training.losses.items() if dtype == "float64"
    ]
    for (who, losses), style in zip(exact, STYLES, strict=False):
        upper.plot(np.arange(1, len(losses) + 1), losses, label=who, **style)
    upper.set_ylabel("loss of the batch")
    upper.set_title(
        f"{training.model.title}: {training.optimizer}, {training.steps} steps", fontsize=10
    )
    upper.legend(frameon=False)
    for (left, right, dtype), margins in training.margins.items():
        line = "-" if dtype == "float64" else ":"
        lower.plot(
            np.arange(1, len(margins) + 1),
            np.maximum(margins, 1e-6),
            line,
            linewidth=1,
            label=f"{left} – {right}, {dtype}",
        )
    lower.axhline(1, color="#b03030", linewidth=1)
    lower.set_yscale("log")
    lower.set_ylabel("difference / tolerance")
    lower.set_xlabel("step")
    lower.legend(frameon=False, fontsize=7, ncols=2)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    target = Path(path)
    try:
        figure.savefig(target, dpi=120)
    except OSError as error:
        raise UsageError(f"cannot draw to {target}: {error}") from None
    return target
