"""Pages made from the code: the catalogue, the ledger of differences, the gallery of mistakes.

``python docs/generate.py`` writes them to docs/_generated; building the site does it by itself.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import crosscheck  # noqa: E402
import reference_nn  # noqa: E402
from crosscheck.families import families  # noqa: E402


def everything(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(exist_ok=True)
    for name, text in (
        ("catalogue", catalogue()),
        ("ledger", ledger()),
        ("gallery", gallery()),
        ("reference_nn", layers()),
    ):
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def catalogue() -> str:
    """Every layer, by family, with its options."""
    lines = ["# The catalogue", "", f"{len(crosscheck.catalogue)} layers, each with its twins in "
             "PyTorch and JAX. `crosscheck list` shows the same.", ""]  # fmt: skip
    for module in families():
        layers = getattr(module, "LAYERS", ())
        if not layers:
            continue
        title = (inspect.getdoc(module) or module.__name__).splitlines()[0].rstrip(".")
        lines += [f"## {title}", "", "| layer | options | combinations checked |", "|---|---|--:|"]
        for layer in layers:
            options = ", ".join(f"`{k}={v!r}`" for k, v in layer.options.items()) or "–"
            count = 1 + len(layer.variants)
            lines.append(f"| `{layer.name}` | {options.replace('|', chr(92) + '|')} | {count} |")
        lines.append("")
    return "\n".join(lines)


def layers() -> str:
    """reference_nn's docstrings as they stand: their formulas are plain text."""
    lines = ["# reference_nn", "", "Neural-network layers in NumPy, forward and backward: what each "
             "computes, where its gradient comes from, and the source.", ""]  # fmt: skip
    folder = Path(reference_nn.__file__).parent
    for path in sorted(folder.glob("[a-z]*.py")):
        module = importlib.import_module(f"reference_nn.{path.stem}")
        public = [getattr(module, name) for name in getattr(module, "__all__", ())]
        if not public:
            continue
        lines += [f"## {path.stem}", "", (inspect.getdoc(module) or "").replace("|", "\\|"), ""]
        for found in public:
            if not callable(found):
                continue
            name, signature = found.__name__, inspect.signature(found)
            text = f"{name}{signature}\n\n{inspect.getdoc(found) or ''}"
            lines += [f"### {name}", "", "````text", text, "````", ""]
    return "\n".join(lines)


def ledger() -> str:
    """Every known difference between PyTorch and JAX."""
    entries = crosscheck.ledger().values()
    lines = ["# Where PyTorch and JAX differ", "", f"{len(entries)} differences, each measured by a "
             "function in the catalogue and tested to be there still: an entry whose difference has "
             "gone away fails.", ""]  # fmt: skip
    by_layer: dict[str, list[crosscheck.differences.Difference]] = {}
    for entry in entries:
        by_layer.setdefault(entry.layer, []).append(entry)
    for layer, group in by_layer.items():
        lines += [f"## {layer}", ""]
        for e in group:
            lines += [f"**{e.what}** (`{e.slug}`)", "", f"- PyTorch: {e.torch}", f"- JAX: {e.jax}",
                      f"- reference_nn follows {'PyTorch' if e.follows == 'torch' else 'JAX'}"
                      + (f"; the option `{e.option}` sets it" if e.option else ""),
                      *([f"- in a check: {e.mapping}"] if e.mapping else []), ""]  # fmt: skip
    return "\n".join(lines)


def gallery() -> str:
    """A planted mistake for each family, and the report that it gets."""
    from mistakes import INITIALISERS, MISTAKES

    from crosscheck.report.page import to_fragment
    from crosscheck.training.initialization import check_initializer
    from crosscheck.training.initialization_causes import explain_initializer

    lines = ["# A gallery of mistakes", "", "For each family of the catalogue a typical mistake, planted "
             "in a correct layer; what follows it is the report of `crosscheck.check`, as a notebook "
             "shows it.", ""]  # fmt: skip
    styled = False
    for mistake in MISTAKES:
        report = crosscheck.check(mistake.layer, mistake.wrong, **mistake.arguments)
        assert report.verdict is crosscheck.Verdict.DISAGREE, mistake
        shown = to_fragment(report).replace("\n\n", "\n")
        if styled:  # once is enough for a page
            shown = re.sub(r"<style>.*?</style>", "", shown, count=1, flags=re.S)
        styled = True
        title = mistake.family.replace("_", " ").capitalize()
        lines += [f"## {title}: {mistake.what}", "", *_code(mistake.source),
                  "```{raw} html", shown, "```", ""]  # fmt: skip
    lines += ["## Initialisers", "", "They are random: what is checked is the distribution that they draw "
              "from.", ""]  # fmt: skip
    for name, what, draw, _ in INITIALISERS:
        lines += [f"### `{name}`: {what}", "", *_code(draw), "```text",
                  *map(str, check_initializer(name, draw)), "",
                  f"Probably {explain_initializer(name, draw)}", "```", ""]  # fmt: skip
    return "\n".join(lines)


def _code(thing: Any) -> list[str]:
    source = textwrap.dedent(inspect.getsource(thing))
    return ["```python", source.rstrip(), "```", ""]


if __name__ == "__main__":
    everything(Path(__file__).parent / "_generated")
