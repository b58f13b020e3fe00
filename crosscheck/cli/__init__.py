"""The command line: thin. One file a command; each ends in a report and an exit code.

0 all agree, 1 something disagrees, 2 wrong usage or unreadable input, 3 something could not be
checked. NumPy and the frameworks are imported when a check begins, not for help or a list.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.check import check
from crosscheck.cli.doctor import doctor
from crosscheck.cli.exercise import exercise
from crosscheck.cli.grade import grade
from crosscheck.cli.list import list_layers
from crosscheck.cli.record import record
from crosscheck.cli.replay import replay
from crosscheck.cli.run import run
from crosscheck.cli.train import train


def main() -> None:
    """The entry point: click's, with our own errors as one line and their exit code."""
    from crosscheck.errors import CrosscheckError

    # Looking through the frameworks' modules for garbage once more would be half a second of goodbye.
    atexit.register(gc.freeze)
    try:
        result = cli.main(standalone_mode=False)
    except CrosscheckError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(exit_codes.USAGE)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:  # the reader has gone: `crosscheck list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exit_codes.AGREE)
    else:
        sys.exit(result if isinstance(result, int) else exit_codes.AGREE)


def _fail(message: str, code: int) -> None:
    click.echo(f"crosscheck: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crosscheck")
def cli() -> None:
    """Is a hand-written neural-network layer right?

    crosscheck runs it beside equivalent PyTorch and JAX models with the same weights,
    differentiates it numerically, and says who is wrong, where, and probably why.

    \b
      crosscheck run                  reference_nn against every witness, as a table
      crosscheck run Linear Sigmoid   only these
      crosscheck check FILE           one person's .py or notebook against an exercise
      crosscheck train mlp            three frameworks train one model side by side
      crosscheck doctor               what is installed

    Exit codes: 0 all agree, 1 something disagrees, 2 wrong usage or unreadable input,
    3 something could not be checked.

    \b
    Completion: eval "$(_CROSSCHECK_COMPLETE=bash_source crosscheck)"   (or zsh_source, fish_source)
    """


for command in (
    run,
    check,
    exercise,
    grade,
    record,
    train,
    replay,
    list_layers,
    doctor,
):
    cli.add_command(command)
