"""Where the `turnwise` program begins, and how whatever happens becomes an exit code. Commands are in `commands`.

Nothing but click and the standard library is imported until a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import exits
from .screen import OutputClosed, OutputFailed, Screen, silence_stdout


def main(args: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (default: those of the process) and return its exit code; see `exits`."""
    try:
        import click
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        Screen().error("The command line needs click.", "Install it with the extra: pip install 'turnwise[cli]'.")
        return exits.USAGE
    try:
        return _run(args)
    except click.ClickException as error:
        Screen().error(error.format_message(), "Try 'turnwise --help'.")
        return exits.USAGE
    except (OutputClosed, BrokenPipeError):
        silence_stdout()
        return exits.BROKEN_PIPE
    except OutputFailed as error:
        silence_stdout()
        Screen().error(f"The output cannot be written: {error}.")
        return exits.FAILED
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED


def _run(args: Sequence[str] | None) -> int:
    from .commands import program

    code = program.main(args, prog_name="turnwise", standalone_mode=False)
    if sys.stdout is not None:
        sys.stdout.flush()
    return code if isinstance(code, int) else exits.COMPLETED
