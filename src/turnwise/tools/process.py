"""Running a command for a tool: output is kept as it comes, and the process group dies with the call (rule E3).

How processes are started, killed and reaped is the business of the `Spawn` seam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from ..core.protocols import Child, Spawn

DEFAULT_LIMIT_BYTES = 1_000_000
PRINTED_LIMIT_BYTES = 32_768
STDOUT = 1

Keep = Callable[[bytes], None]
"""Takes output as it comes."""


class ProcessResult(msgspec.Struct, frozen=True, gc=False):
    """How a command ended. A negative `returncode` is the signal that ended it; output is decoded as UTF-8, with
    U+FFFD for what is not."""

    returncode: int
    stdout: str
    stderr: str
    truncated: bool = False


class Printed:
    """The last `PRINTED_LIMIT_BYTES` of what was printed. Memory stays within twice that."""

    __slots__ = ("_data", "_dropped")

    def __init__(self) -> None:
        self._data = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        self._data += data[-2 * PRINTED_LIMIT_BYTES :]
        self._dropped += max(0, len(data) - 2 * PRINTED_LIMIT_BYTES)
        if len(self._data) > 2 * PRINTED_LIMIT_BYTES:
            self._cut()

    def text(self) -> str:
        """As text; a note says how much was dropped before it. Never begins inside a character."""
        if len(self._data) > PRINTED_LIMIT_BYTES:
            self._cut()
        text = self._data.decode("utf-8", "replace")
        return f"[{self._dropped} bytes before this were dropped]\n{text}" if self._dropped else text

    def _cut(self) -> None:
        start = len(self._data) - PRINTED_LIMIT_BYTES
        while start < len(self._data) and self._data[start] & 0xC0 == 0x80:
            start += 1
        self._dropped += start
        del self._data[:start]


async def run_process(
    spawn: Spawn,
    keep: Keep,
    argv: Sequence[str],
    *,
    cwd: str | None,
    env: Mapping[str, str] | None,
    stdin: str | bytes | None,
    limit_bytes: int,
) -> ProcessResult:
    """`ToolContext.run_process` on a given seam; `keep` gets all output as it comes."""
    child = await spawn.start(argv, cwd=cwd, env=env, stdin=stdin is not None)
    outputs = {STDOUT: bytearray(), STDOUT + 1: bytearray()}
    truncated = False
    try:
        if stdin is not None:
            await child.write(stdin.encode() if isinstance(stdin, str) else stdin)
            await child.close_stdin()
        while (read := await child.read())[1]:
            fd, data = read
            keep(data)
            kept = outputs[fd]
            truncated |= len(kept) + len(data) > limit_bytes
            kept += data[: limit_bytes - len(kept)]
        code = await child.wait()
    except BaseException:
        await end(child, keep)
        raise
    out, err = (_text(data, limit_bytes) for data in outputs.values())
    return ProcessResult(code, out, err, truncated)


async def end(child: Child, keep: Keep) -> None:
    """Kill a child's group and keep what is still in its pipes. If this wait is cancelled, the group is killed all the same."""
    await child.kill()
    while (read := await child.read())[1]:
        keep(read[1])


def _text(data: bytearray, limit_bytes: int) -> str:
    """Decode; output that was cut at the limit does not end inside a character."""
    text = data.decode("utf-8", "replace")
    return text.removesuffix("\ufffd") if len(data) == limit_bytes else text
