"""The README's picture: a real report, as a browser shows it.

python docs/picture.py    # needs a Chromium on the PATH; writes docs/_static/report.png
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import crosscheck  # noqa: E402
from crosscheck.report.page import to_page  # noqa: E402


def main() -> None:
    """Check a wrong layer, render its page, take the screenshot."""
    from mistakes import ElementByElement

    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None
    )
    if browser is None:
        sys.exit("no Chromium on the PATH")
    report = crosscheck.check("Softmax", ElementByElement, options={})
    target = HERE / "_static" / "report.png"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(to_page([report], "crosscheck.check"), encoding="utf-8")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--window-size=1000,830", f"--screenshot={target}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
    print(target)


if __name__ == "__main__":
    main()
