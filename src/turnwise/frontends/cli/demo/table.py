"""The table at the end of the demo: steps, calls, turns and events."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.usage import Usage
from .record import Call, Record, Step


def tables(record: Record) -> list[tuple[str, list[str]]]:
    """Titles and lines."""
    return [
        (
            "Model calls",
            grid(("step", "first text", "whole", "tokens in", "out", "calls", "ended with"), _steps(record)),
        ),
        ("Tool calls", grid(("call", "tool", "time", "outcome"), [_call(c) for c in record.calls.values()])),
        ("Turns", grid(("turn", "steps", "calls", "tokens in", "out", "reason"), _turns(record))),
        ("Events", _columns([f"{name} {count}" for name, count in record.kinds.items()])),
    ]


def _steps(record: Record) -> list[tuple[str, ...]]:
    return [_step(step) for step in record.steps]


def _step(step: Step) -> tuple[str, ...]:
    finished = step.finished
    tokens = _tokens(finished.usage if finished else None)
    return (
        f"t{step.turn}.s{step.number}",
        _seconds(step.began, step.first_text),
        _seconds(step.began, step.ended),
        *tokens,
        str(len(finished.calls)) if finished else "-",
        finished.stop_reason if finished else "-",
    )


def _call(call: Call) -> tuple[str, ...]:
    return call.id, call.name, _seconds(call.began, call.ended), call.outcome


def _turns(record: Record) -> list[tuple[str, ...]]:
    return [(f"t{r.turn}", str(r.steps), str(r.calls), *_tokens(r.usage), r.reason) for r in record.results]


def _tokens(usage: Usage | None) -> tuple[str, str]:
    if usage is None:
        return "-", "-"
    return _count(usage.input_tokens), _count(usage.output_tokens)


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)


def _seconds(began: float, ended: float | None) -> str:
    return "-" if ended is None else f"{ended - began:.3f} s"


def grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as they need to be; numbers to the right, names to the left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    to_the_right = [bool(rows) and all(row[i][:1] in "-0123456789" for row in rows) for i in range(len(head))]
    lines: list[str] = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_the_right, strict=True)
        ]
        lines.append("   ".join(cells).rstrip())
    return lines


def _columns(items: Sequence[str], count: int = 3) -> list[str]:
    width = max(map(len, items), default=0)
    return [
        "   ".join([item.ljust(width) for item in items[i : i + count]]).rstrip() for i in range(0, len(items), count)
    ]
