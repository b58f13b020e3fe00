"""Check the documentation: links to files lead somewhere, and Python in it parses.

python docs/check.py
"""

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def problems(page: Path) -> list[str]:
    """What is wrong with one page, a line each."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in LINK.finditer(text):
        target = match[1]
        made = target.startswith("_generated/")  # from the code, when the site is built
        if not made and not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
            found.append(f"{page.relative_to(ROOT)}: no {target}")
    for match in BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 1
        try:
            ast.parse(textwrap.dedent(match[1]))
        except SyntaxError as error:
            found.append(f"{page.relative_to(ROOT)}:{line + (error.lineno or 0)}: {error.msg}")
    return found


def main() -> int:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    found = [problem for page in sorted(pages) for problem in problems(page)]
    print("\n".join(found) or f"{len(pages)} pages, nothing wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
