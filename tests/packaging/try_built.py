"""Install the wheel and the sdist, each into an environment of its own, and use them elsewhere.

python tests/packaging/try_built.py DIST

A script and no test: it builds environments. tox's environment ``build`` runs it.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SUITE = """
import numpy as np

class Scale:
    def forward(self, x):
        return 3 * x
    def backward(self, x, grad_output):
        return FACTOR * grad_output

import crosscheck as cc
spec = cc.Layer("Scale", inputs={"x": "n"}, outputs={"output": "n"})

def test_scale(crosscheck):
    crosscheck(spec, Scale, against=("numeric",))
"""


def main(dist: Path) -> None:
    for built in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        with tempfile.TemporaryDirectory() as folder:
            try_one(built.resolve(), Path(folder))
        print(f"{built.name}: installs, checks a layer, passes a right one, fails a wrong one")


def try_one(built: Path, folder: Path) -> None:
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*arguments: str, code: int = 0) -> str:
        # -P: nothing of the current folder is imported by accident.
        done = subprocess.run(
            [python, "-P", *arguments], cwd=folder, capture_output=True, text=True
        )
        if done.returncode != code:
            sys.exit(f"{built.name}: {' '.join(arguments)} gave {done.returncode}, not {code}\n"
                     f"{done.stdout}{done.stderr}")  # fmt: skip
        return done.stdout

    run("-m", "pip", "install", "-q", f"{built}[test]")
    where = run("-c", "import crosscheck, reference_nn; print(crosscheck.__file__)")
    if "site-packages" not in where:
        sys.exit(f"{built.name}: imported from {where}")
    run("-m", "crosscheck", "run", "Linear", "--against", "numeric")
    run("-m", "crosscheck", "list")
    for factor, code in (("3", 0), ("2", 1)):
        (folder / "test_scale.py").write_text(SUITE.replace("FACTOR", factor))
        run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_scale.py", code=code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
