"""The program's two outputs: the answer goes to stdout, everything else (notes, tool activity, errors) to stderr.

Here is decided what a terminal gets and what a pipe or file gets. Nothing but the answer ever reaches stdout, a pipe gets
it unchanged, and colours go to terminals only. What models and tools say is shown on a terminal without its control
characters, so that it cannot move the cursor or rewrite what was shown before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Mapping
from io import TextIOWrapper
from typing import TextIO

CONTROL: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t\r"},
    **dict.fromkeys(range(128, 160), "\N{REPLACEMENT CHARACTER}"),
    ord("\r"): None,
    127: "\N{SYMBOL FOR DELETE}",
}
"""Control characters and what stands for them on a terminal."""


class OutputClosed(Exception):
    """Nobody reads stdout any more."""


class OutputFailed(Exception):
    """stdout cannot be written, for the reason given."""


class Screen:
    """Where a command writes. `styled` tells whether stdout is a terminal that may be given colours."""

    def __init__(self, environ: Mapping[str, str] = os.environ, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._out: TextIO = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # stdout was closed: `turnwise >&-`
        self._err: TextIO | None = sys.stderr
        self.out_is_terminal = self._out.isatty()
        self._err_is_terminal = self._err is not None and self._err.isatty()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.styled = self.out_is_terminal and not plain
        self._err_styled = self._err_is_terminal and not plain
        self._line_is_open = False
        _never_fail_to_encode(self._out)

    # --- stdout

    def answer(self, text: str) -> None:
        """A piece of the answer, as it comes; `flush` shows it. Raises `OutputClosed`, `OutputFailed`."""
        if text:
            self.write(visible(text) if self.out_is_terminal else text)
            self._line_is_open = not text.endswith("\n")

    def write(self, text: str) -> None:
        """Text of our own making, styled or not, exactly as it is."""
        with _output_errors():
            self._out.write(text)

    def end_line(self) -> None:
        """End the answer's last line, unless it is ended already."""
        if self._line_is_open:
            self.write("\n")
            self._line_is_open = False

    def data(self, lines: bytes) -> None:
        """Whole lines for a program to read."""
        with _output_errors():
            self._out.buffer.write(lines)

    def flush(self) -> None:
        with _output_errors():
            self._out.flush()

    # --- stderr

    def note(self, text: str) -> None:
        """One line beside the answer: what a tool does, what was chosen, why it stopped. Nothing if the screen is `quiet`."""
        if not self.quiet:
            self._say(visible(_covered(text)), "dim")

    def report(self, line: str) -> None:
        """One line for a program to read."""
        self._say(_covered(line))

    def error(self, message: str, hint: str = "") -> None:
        """What happened and what to do, as one short block."""
        first, *rest = visible(_covered(message)).splitlines() or ["unknown"]
        self._say(first, "red", "Error: ")
        for line in [*rest, *visible(_covered(hint)).splitlines()]:
            self._say(f"  {line}")

    def _say(self, text: str, style: str = "", prefix: str = "") -> None:
        """stderr is for people; if it cannot be written there is nobody to tell."""
        if self._err is None:
            return
        if self.out_is_terminal and self._err_is_terminal:
            self.end_line()
        self.flush()
        line = _styled(prefix, text, style) if self._err_styled else prefix + text
        with contextlib.suppress(OSError):
            self._err.write(f"{line}\n")
            self._err.flush()


def _covered(text: str) -> str:
    """The text without secrets (rule P6). Loaded when something is said, which is never before the engine is."""
    from ...models.secrets import mask

    return mask(text)


def visible(text: str) -> str:
    """The text with its control characters made visible; line breaks and tabs stay."""
    return text.translate(CONTROL)


def _styled(prefix: str, text: str, style: str) -> str:
    from click import style as paint

    if prefix:
        return paint(prefix, fg=style, bold=True) + text
    return paint(text, dim=True) if style == "dim" else text


def _never_fail_to_encode(out: TextIO) -> None:
    """With a locale that knows only ASCII the answer is shown with `?` in place of what it cannot show."""
    if isinstance(out, TextIOWrapper):
        out.reconfigure(errors="replace")


@contextlib.contextmanager
def _output_errors() -> Generator[None, None, None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from error


def silence_stdout() -> None:
    """Let what is still buffered go nowhere: flushing it at exit would fail again, and loudly."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
