"""How a conversation is made shorter: which messages stay, which results are masked, where the cut falls. Pure.

Theory of operation. `plan` is a generator: it tries the strategies in order until the estimate is under its aim, yields a
`SummaryWanted` when a model's words are needed, and is sent what came of it. It returns one `Change` of the view, and never touches
the history. Everything before `keep_from` may be changed, nothing after it (but see `_last_resort`). A cut never falls between a call
and its result, because it only falls before a message that is not a `ToolMessage` (rule X2); results that the model has not seen are
always kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import msgspec

from .compaction import Compaction, CompactReport, Mask, Summarise, WhyNot
from .content import Text
from .errors import ErrorInfo
from .messages import AssistantMessage, Message, StopReason, ToolMessage, UserMessage
from .outcomes import ToolResult
from .summary import (
    check_summary,
    fitting,
    instructions,
    latest_requests,
    note_message,
    summary_message,
    summary_request,
)
from .view import Change, Masked, project, then
from .view import masked as masked_in

Size = Callable[[Message], int]
"""The estimated tokens of one message."""

WORTH_A_SUMMARY = 200
"""Tokens below which messages are no longer than what a summary would say of them."""
TOO_LARGE = (
    "[The result of {tool} was left out: it does not fit into the model's context ({size}). Ask for less of it.]"
)


class Frame(msgspec.Struct, frozen=True):
    """What a plan aims at, in tokens of the whole request. `fixed_tokens` are those of instructions, tools and form; `target_tokens` is
    the aim; above `most_tokens` the request cannot be sent. `summary_bytes` bounds the prompt for a summary. `number` is how
    many changes of the view there were, `at` the time."""

    fixed_tokens: int
    target_tokens: int
    most_tokens: int
    summary_bytes: int
    number: int = 0
    at: float = 0.0

    @property
    def room(self) -> int:
        """What the messages may take."""
        return max(0, self.target_tokens - self.fixed_tokens)


class SummaryWanted(msgspec.Struct, frozen=True):
    """A model is to be asked for a summary, without tools. `model` is None for the session's own."""

    instructions: str
    prompt: str
    model: str | None
    max_output_tokens: int


class SummaryMade(msgspec.Struct, frozen=True):
    """What it said, and why it stopped."""

    text: str
    stop_reason: StopReason = "stop"


class Planned(msgspec.Struct, frozen=True):
    """What a plan came to: a change that makes the conversation smaller, or None and why not. `error` is what went wrong, which may
    be set in both cases."""

    change: Change | None
    why_not: WhyNot = ""
    error: ErrorInfo | None = None


Planning = Generator[SummaryWanted, SummaryMade | ErrorInfo, Planned]


def plan(history: Sequence[Message], view: Change, settings: Compaction | None, frame: Frame, size: Size) -> Planning:
    """The change that brings the transcript under the frame's target, as far as the strategies can (see the module)."""
    if settings is None or not settings.strategies:
        return Planned(None, "no_strategy")
    keep = keep_from(history, view, settings, frame.room, size)
    before = now = messages_tokens(history, view, size)
    made, error = view, None
    for strategy in settings.strategies:
        if now <= frame.room:
            break
        change = None
        if isinstance(strategy, Mask):
            change = mask(history, made, strategy, keep)
        elif isinstance(strategy, Summarise):
            if (covers := cut(history, made, keep, size)) is not None:
                wanted = _wanted(history, made, covers, strategy, frame)
                answer = yield wanted
                change = _summarised(history, made, covers, answer, frame, size)
        elif error is None or now + frame.fixed_tokens > frame.most_tokens:
            change = drop(history, made, keep, frame, size)
        if isinstance(change, ErrorInfo):
            error = change
        elif change is not None:
            changed = then(made, change)
            after = messages_tokens(history, changed, size)
            if after < now:
                made, now = changed, after
    if now < before:
        return Planned(_difference(history, view, made), error=error)
    return Planned(None, "failed" if error is not None else "nothing_to_compact", error)


def messages_tokens(history: Sequence[Message], view: Change, size: Size) -> int:
    """The estimate of the transcript that this view shows."""
    return sum(map(size, project(history, view)))


# --- what stays -----------------------------------------------------------------------------------------------------


def keep_from(history: Sequence[Message], view: Change, settings: Compaction, room: int, size: Size) -> int:
    """The index of the first message that stays as it is: a step boundary, at or after the cut in effect. `room` is what the messages
    may take together; what stays takes three quarters of it at most, unless a single step takes more."""
    tails = _tails(history, view, size)
    allowed = [at for at in boundaries(history) if at >= view.covers]
    start = max([at for at in allowed if at <= _unseen(history)], default=view.covers)
    most = room * 3 // 4
    if settings.keep_turns is not None:
        begun = [at for at in allowed if _begins_turn(history[at])]
        first = begun[-settings.keep_turns] if len(begun) >= settings.keep_turns else view.covers
        if tails[first - view.covers] <= most:
            start = min(start, first)
            if settings.keep_tokens is None:
                return start
    wanted = min(most, room // 2 if settings.keep_tokens is None else settings.keep_tokens)
    fits = next((at for at in allowed if at <= start and tails[at - view.covers] <= wanted), start)
    if settings.keep_tokens is None:
        whole = next((at for at in allowed if fits <= at <= start and _begins_turn(history[at])), fits)
        if tails[whole - view.covers] * 2 >= wanted:
            return whole
    return fits


def boundaries(history: Sequence[Message]) -> list[int]:
    """Where a cut may fall: before any message but the results of the step before (rule X2)."""
    return [at for at, message in enumerate(history) if not isinstance(message, ToolMessage)]


def _unseen(history: Sequence[Message]) -> int:
    """The first of the messages that the model has not answered yet; a step's calls go with their results."""
    for at in range(len(history) - 1, -1, -1):
        message = history[at]
        if isinstance(message, AssistantMessage):
            return at if message.tool_calls else min(at + 1, len(history) - 1)
    return 0


def _tails(history: Sequence[Message], view: Change, size: Size) -> list[int]:
    """The tokens of all that is shown from message `covers + i` on, for each i; 0 at the end."""
    texts = texts_of(view)
    tails = [0]
    for message in reversed(history[view.covers :]):
        shown = masked_in(message, texts) if texts else message
        tails.append(tails[-1] + size(shown))
    tails.reverse()
    return tails


def _begins_turn(message: Message) -> bool:
    return isinstance(message, UserMessage) and not message.order and not message.mark


# --- strategies -----------------------------------------------------------------------------------------------------


def mask(history: Sequence[Message], view: Change, strategy: Mask, keep: int) -> Change | None:
    """The results before `keep` masked that are not masked yet and become smaller by it."""
    known = texts_of(view)
    masked: list[Masked] = []
    for result, tool in _results(history[view.covers : keep]):
        if result.call_id in known:
            continue
        text = result.summary or strategy.placeholder.format(tool=tool, size=size_in_words(result))
        if _bytes(result) >= strategy.min_bytes and _shrinks(result, text):
            masked.append(Masked(result.call_id, text))
    return Change(view.covers, view.summary, tuple(masked)) if masked else None


def cut(history: Sequence[Message], view: Change, keep: int, size: Size) -> int | None:
    """How many messages of the history a summary would stand for; None if there is too little that no summary stands for yet."""
    added = messages_tokens(history[:keep], view, size) - (0 if view.summary is None else size(view.summary))
    return keep if keep > view.covers and added >= WORTH_A_SUMMARY else None


def drop(history: Sequence[Message], view: Change, keep: int, frame: Frame, size: Size) -> Change | None:
    """As few of the oldest messages left out as brings the rest under the target, `keep` of them at most; then, if the request still
    could not be sent, also the largest results after them."""
    tails = _tails(history, view, size)
    further = [at for at in boundaries(history) if view.covers < at <= keep]
    change: Change | None = None
    if further:
        longest = size(_note(history, view, further[-1], frame, size))
        covers = next((at for at in further if longest + tails[at - view.covers] <= frame.room), further[-1])
        change = Change(covers, _note(history, view, covers, frame, size))
    return _last_resort(history, view, change, frame, size)


def _last_resort(
    history: Sequence[Message], view: Change, change: Change | None, frame: Frame, size: Size
) -> Change | None:
    """What is left must be sent and is too large: results that the model has not seen give way, the largest first, and it is told."""
    made = then(view, change or view)
    known = texts_of(made)
    over = messages_tokens(history, made, size) + frame.fixed_tokens - frame.most_tokens
    masked: list[Masked] = []
    results = [pair for pair in _results(history[made.covers :]) if pair[0].call_id not in known]
    for result, tool in sorted(results, key=lambda pair: -_bytes(pair[0])):
        if over <= 0:
            break
        text = TOO_LARGE.format(tool=tool, size=size_in_words(result))
        if _shrinks(result, text):
            alone = ToolMessage((result,))
            over -= size(alone) - size(masked_in(alone, {result.call_id: text}))
            masked.append(Masked(result.call_id, text))
    return Change(made.covers, made.summary, tuple(masked)) if masked else change


def _note(history: Sequence[Message], view: Change, covers: int, frame: Frame, size: Size) -> UserMessage:
    requests = latest_requests(history, covers)
    earlier = view.summary
    if earlier is not None and size(earlier) > frame.room // 2:
        earlier = None
    return fitting(lambda text: note_message(earlier, text, frame.number, frame.at), requests, size, frame.room // 2)


def _wanted(history: Sequence[Message], view: Change, covers: int, strategy: Summarise, frame: Frame) -> SummaryWanted:
    """An earlier summary is part of what is summarised; results are given as they were, not as they are masked."""
    earlier = [] if view.summary is None else [view.summary]
    prompt = summary_request([*earlier, *history[view.covers : covers]], frame.summary_bytes)
    return SummaryWanted(instructions(strategy.instructions), prompt, strategy.model, strategy.max_output_tokens)


def _summarised(
    history: Sequence[Message],
    view: Change,
    covers: int,
    answer: SummaryMade | ErrorInfo,
    frame: Frame,
    size: Size,
) -> Change | ErrorInfo:
    if isinstance(answer, ErrorInfo):
        return answer
    replaced = messages_tokens(history[:covers], view, size)
    message = fitting(
        lambda text: summary_message(answer.text, text, frame.number, frame.at),
        latest_requests(history, covers),
        size,
        max(replaced // 2, 1),
    )
    problem = check_summary(answer.text, answer.stop_reason, size(message), replaced)
    return Change(covers, message) if problem is None else bad_summary(problem)


def bad_summary(problem: str) -> ErrorInfo:
    return ErrorInfo(
        "provider",
        "bad_summary",
        f"The summary that the model wrote cannot be used: {problem}.",
        "The conversation stays as it was. Name another model: Summarise(model=…).",
    )


# --- the result -------------------------------------------------------------------------------------------------------


def report(history: Sequence[Message], before: Change, planned: Planned, frame: Frame, size: Size) -> CompactReport:
    """What a plan comes to once its change is made."""
    change = planned.change
    after = before if change is None else then(before, change)
    shown, left_over = project(history, before), project(history, after)
    added = () if change is None else change.masked
    own = {(r.call_id, r.summary) for r, _ in _results(history[after.covers :])}
    summarised = len([m for m in added if (m.call_id, m.text) in own])
    turns = _turns(history[before.covers :])
    left, masked = _turns(history[after.covers :]), {m.call_id for m in added}
    touched = _turns(history[before.covers : after.covers]) | {
        m.turn
        for m in history[after.covers :]
        if isinstance(m, ToolMessage) and any(r.call_id in masked for r in m.results)
    }
    new = after.summary if after.summary is not before.summary else None
    return CompactReport(
        change is not None,
        planned.why_not,
        planned.error,
        len(shown),
        len(left_over),
        sum(map(size, shown)) + frame.fixed_tokens,
        sum(map(size, left_over)) + frame.fixed_tokens,
        len(turns),
        len(left),
        len(touched),
        len(turns - touched),
        len(added) - summarised,
        summarised,
        0 if new is None else len(new.text),
    )


def _difference(history: Sequence[Message], view: Change, made: Change) -> Change:
    """What is new in `made`, without masks of calls that it no longer shows."""
    shown = {result.call_id for result, _ in _results(history[made.covers :])}
    added = made.masked[len(view.masked) :]
    return Change(made.covers, made.summary, tuple([m for m in added if m.call_id in shown]))


def _turns(messages: Sequence[Message]) -> set[int]:
    return {m.turn for m in messages}


# --- results --------------------------------------------------------------------------------------------------------


def texts_of(view: Change) -> dict[str, str]:
    """The texts of masked results by the ids of their calls."""
    return {m.call_id: m.text for m in view.masked}


def _results(messages: Sequence[Message]) -> list[tuple[ToolResult, str]]:
    """All results, each with the name of its tool."""
    found: list[tuple[ToolResult, str]] = []
    names: dict[str, str] = {}
    for message in messages:
        if isinstance(message, AssistantMessage):
            names = {call.id: call.name for call in message.tool_calls}
        elif isinstance(message, ToolMessage):
            found += [(r, names.get(r.call_id, "a tool")) for r in message.results]
    return found


def _bytes(result: ToolResult) -> int:
    """The text of a result; a picture or a file counts as much as it usually takes a model."""
    others = len([b for b in result.content if not isinstance(b, Text)])
    return len(result.text.encode("utf-8", "replace")) + 4_000 * others


def _shrinks(result: ToolResult, text: str) -> bool:
    return len(text.encode("utf-8", "replace")) < _bytes(result)


def size_in_words(result: ToolResult) -> str:
    """Such as `12,345 bytes` or `20 bytes and 2 files`."""
    text = len(result.text.encode("utf-8", "replace"))
    others = len([b for b in result.content if not isinstance(b, Text)])
    if not others:
        return f"{text:,} bytes"
    files = f"{others} file{'s' if others > 1 else ''}"
    return f"{text:,} bytes and {files}" if text else files
