"""What is asked: the words of the command line, standard input and attached files, put together into one prompt."""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from pathlib import Path

from ...core.content import UserBlock
from ...core.errors import ConfigError, config_error
from ...runtime.attachments import Prompt, block_of
from .screen import Screen

PATIENCE_S = 2.0
"""After so long without anything on standard input a note says what is being waited for."""

_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"%PDF-", "pdf"),
)


def assemble(words: str, attachments: Sequence[Path], piped: bytes | None) -> Prompt | None:
    """The prompt; None if nothing was said. Files and what was piped in come first, the words last. Raises `ConfigError`
    (`unsupported_file`)."""
    parts: list[str | UserBlock | Path] = list(attachments)
    if piped is not None and piped.strip():
        parts.append(_piped(piped, bool(words.strip())))
    if words.strip():
        parts.append(words)
    if not parts:
        return None
    if all(isinstance(part, str) for part in parts):
        return "\n\n".join([str(part) for part in parts])
    return parts


def nothing_asked(hint: str = 'Say something: turnwise "your question".') -> ConfigError:
    return config_error("empty_prompt", "There is no prompt.", hint)


def read_stdin(screen: Screen) -> bytes | None:
    """All of standard input, if it is not a terminal; None if it is, or is closed."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    source = sys.stdin.buffer
    if not select.select([source], [], [], PATIENCE_S)[0]:
        screen.note("Waiting for standard input; to ask without it, add: < /dev/null")
    return source.read()


def _piped(data: bytes, beside_words: bool) -> str | UserBlock:
    """Text is marked off from the words beside it; an image or a PDF becomes an attachment."""
    kind = _kind(data)
    if kind:
        return block_of(f"stdin.{kind}", data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise config_error(
            "unsupported_file",
            "Standard input is neither UTF-8 text nor an image or PDF.",
            "Convert it first, for example with iconv.",
        ) from None
    return f"<stdin>\n{text.rstrip()}\n</stdin>" if beside_words else text


def _kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), "")
