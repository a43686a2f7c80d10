"""The turn machine as a Hypothesis state machine: whatever the model, its tools, the user and the driver do, in whatever order,
the rules hold (T1 to T4, T6, T7, E1, E4, E8 to E10, C6, X2, X4) and every provider would take the transcript (T8)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.core.world import OVERLOADED, REFUSED, World
from tests.examples import examples

from turnwise.core.content import Text, Thinking, ToolCall
from turnwise.core.errors import ErrorInfo
from turnwise.core.events import ToolFinished, ToolStarted, TurnFinished
from turnwise.core.inputs import (
    CallBegins,
    CallEnded,
    Continue,
    Halted,
    Input,
    Interrupt,
    ModelFailed,
    ModelReplied,
    Steer,
    UserInput,
)
from turnwise.core.inputs_rare import (
    Approve,
    CallWaits,
    ChangeSettings,
    Clear,
    CompactionEnded,
    Decide,
    Deny,
    DropFollowUps,
    Expire,
    FollowUp,
    LimitHit,
    Resume,
    Rewind,
    SpentElsewhere,
    Stop,
    UndoCompaction,
)
from turnwise.core.limits import Limits, Retry
from turnwise.core.loops import Loops
from turnwise.core.messages import AssistantMessage, Message, ResponseInfo, ToolMessage, UserMessage
from turnwise.core.outcomes import Denied, Failed, ToolResult
from turnwise.core.request import Request, RequestHead, ToolSpec
from turnwise.core.settings import SessionSettings
from turnwise.core.turn import Policy
from turnwise.core.usage import Usage
from turnwise.core.view import Change, Masked
from turnwise.testing import check
from turnwise.wire.base import APIS, encode

OVERFLOW = ErrorInfo("provider", "context_overflow", "too long")
SPEC = ToolSpec("tool", "A tool.", '{"type":"object","properties":{"n":{"type":"integer"}}}')
ARGUMENTS = ["{}", '{"n": 1}', '{"n":1 }', "", "{not json", "[1]"]
MODELS = {
    "anthropic.messages": "claude-sonnet-4-5",
    "bedrock.converse": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "gemini.generateContent": "gemini-3-pro-preview",
    "vertex.generateContent": "gemini-2.5-pro",
}


def refused(api: str, transcript: list[Message]) -> list[Any]:
    """What an API's validator says against a request for this transcript (rule T8)."""
    if not transcript or isinstance(transcript[-1], AssistantMessage):
        transcript = [*transcript, UserMessage("Go on.", turn=99)]
    made = encode(api, Request(RequestHead(MODELS.get(api, "a-model"), "Be brief.", (SPEC,)), transcript))
    return check(api, msgspec.json.decode(made.body), path=made.path)


MEDDLING = [
    *("steer", "steer", "follow up", "drop follow-ups", "interrupt", "wait", "settings", "clear", "rewind", "compact"),
    *("decide", "undo", "late", "crash", "recover", "recover"),
]


class Chaos(RuleBasedStateMachine):
    """What a driver, a model, tools and people may do, at any moment that they can."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(fold_every=10)
        self.spent = 0
        self.requests = 0
        self.last: tuple[int, list[Message]] = (0, [])

    @initialize(
        attempts=st.integers(1, 3),
        action=st.sampled_from([None, "warn", "tell", "stop"]),
        repeats=st.integers(1, 3),
        corrections=st.integers(0, 2),
        compact=st.booleans(),
        restart=st.sampled_from(["before_output", "before_commit"]),
        answer=st.sampled_from(["", "final_answer"]),
    )
    def policy(
        self, attempts: int, action: Any, repeats: int, corrections: int, compact: bool, restart: Any, answer: str
    ) -> None:
        loops = None if action is None else Loops(repeats, 3, action)
        self.world.machine.policy = Policy(Retry(attempts, 4), restart, 2, compact, loops, corrections, answer)

    # --- people ------------------------------------------------------------------------------------------------------

    def feed(self, given: Input) -> bool:
        return bool(self.world.feed(given).entries)

    @precondition(lambda self: not self.world.state.running)
    @rule(
        steps=st.sampled_from([None, None, None, 3, 1, 0]),
        calls=st.sampled_from([None, None, None, 4, 1, 0]),
        tokens=st.sampled_from([None, None, 40, 0]),
        own=st.sampled_from([None, None, 2, 0]),
        on_limit=st.sampled_from(["stop", "conclude"]),
        how=st.sampled_from(["input", "continue", "continue again", "again", "queued"]),
    )
    def begin(self, steps: Any, calls: Any, tokens: Any, own: Any, on_limit: Any, how: str) -> None:
        limits = Limits(steps, calls, tokens, per_tool={} if own is None else {"tool": own}, on_limit=on_limit)
        state = self.world.state
        if how == "continue":
            assert self.feed(Continue(limits, "ref")) is bool(state.transcript)
        elif how == "continue again" and state.turns:
            self.feed(Continue(limits, instead_of=state.turns))
        elif how == "queued":
            queued = bool(state.queue)
            assert self.feed(UserInput("", limits, queued=True)) is queued
        elif how == "again" and state.turns:
            assert self.feed(UserInput("once more", limits, instead_of=state.turns))
        else:
            assert self.feed(UserInput("go", limits, "ref"))

    @rule(data=st.data())
    def someone_meddles(self, data: st.DataObject) -> None:
        """Each of these is possible at any moment; as one rule, so that turns get somewhere in between."""
        flip = st.booleans()
        match data.draw(st.sampled_from(MEDDLING)):
            case "steer":
                self.steer(data.draw(flip))
            case "follow up":
                assert self.feed(FollowUp("then this"))
            case "drop follow-ups":
                self.feed(DropFollowUps())
            case "interrupt":
                cause = data.draw(st.sampled_from(["user", "left", "timeout", "wall_time"]))
                self.feed(Interrupt(cause, data.draw(st.sampled_from(["partial", "none"]))))
            case "wait":
                self.world.now += data.draw(st.sampled_from([0.0, 1000.0]))
                self.feed(Expire())
            case "settings":
                tools = data.draw(st.sampled_from([None, (), ("tool",)]))
                assert self.feed(ChangeSettings(SessionSettings(tools=tools, temperature=0.5)))
            case "clear":
                running = self.world.state.running
                assert self.feed(Clear()) is not running
            case "rewind":
                running, to = self.world.state.running, data.draw(st.integers(0, self.world.state.turns))
                assert self.feed(Rewind(to)) is not running
            case "compact":
                self.end_compaction(data, "manual", data.draw(flip), data.draw(st.sampled_from([False, False, True])))
            case "decide":
                made = Decide("hook", "modify", "t1.s1.c0", "tool", "sha")
                assert self.feed(made), "P4: whatever goes on, a decision is journalled"
            case "undo":
                self.undo_compaction()
            case "late":
                self.outcome_from_outside(data)
            case "recover":
                self.world.recover(data.draw(st.sampled_from([0, 1, 3, 3, 3])))
            case _:
                self.crash()

    def steer(self, skip: bool) -> None:
        took = self.world.state.running and not self.world.halting
        assert self.feed(Steer("and this", "ref", skip)) is took

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), edited=st.booleans())
    def approve(self, data: st.DataObject, edited: bool) -> None:
        waiting = self.waiting()
        call_id = data.draw(st.sampled_from(waiting)) if waiting else "t9.s9.c9"
        self.feed(Approve(call_id, '{"n": 7}' if edited else None))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def deny(self, data: st.DataObject) -> None:
        waiting = self.waiting()
        self.feed(Deny(data.draw(st.sampled_from(waiting)) if waiting else "t9.s9.c9", "no"))

    @precondition(lambda self: self.parked())
    @rule()
    def resume(self) -> None:
        assert self.feed(Resume())

    def waiting(self) -> list[str]:
        turn = self.world.state.turn
        return [] if turn is None else [p.call_id for p in turn.pending]

    def parked(self) -> bool:
        turn = self.world.state.turn
        return turn is not None and turn.phase == "parked"

    # --- the model ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.calling is not None)
    @rule(
        calls=st.lists(st.sampled_from(ARGUMENTS), max_size=4),
        stop=st.sampled_from(["stop", "tool_calls", "length", "content_filter", "refusal", "pause"]),
        text=st.sampled_from(["", "text"]),
        thinking=st.booleans(),
        problem=st.sampled_from([None, None, "It is not JSON."]),
        answers=st.booleans(),
    )
    def reply(self, calls: list[str], stop: Any, text: str, thinking: bool, problem: str | None, answers: bool) -> None:
        asked, self.world.calling = self.world.calling, None
        assert asked is not None
        blocks: list[Any] = [Thinking("hm", "sig", False, "anthropic")] if thinking else []
        blocks += [Text(text)] if text else []
        names = ["final_answer" if answers and i == 0 else "tool" for i in range(len(calls))]
        blocks += [ToolCall(f"t{asked.turn}.s{asked.step}.c{i}", names[i], a) for i, a in enumerate(calls)]
        self.spent += 15
        self.requests += 1
        info = ResponseInfo("p", "m", None, stop, stop, Usage(10, 5))
        body = tuple(blocks) if len(blocks) > 1 or calls or thinking else text
        self.feed(ModelReplied(AssistantMessage(body, asked.turn, asked.step, self.world.now, False, info), problem))

    @precondition(lambda self: self.world.calling is not None)
    @rule(error=st.sampled_from([OVERLOADED, REFUSED, OVERFLOW]), shown=st.booleans(), may_retry=st.booleans())
    def fail(self, error: ErrorInfo, shown: bool, may_retry: bool) -> None:
        self.world.calling = None
        self.spent += 7
        self.requests += 1
        self.feed(ModelFailed(error, shown, Usage(7, None), 0.5, may_retry))

    # --- the driver --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.calling is not None)
    @rule(data=st.data(), works=st.booleans(), late=st.booleans())
    def compact(self, data: st.DataObject, works: bool, late: bool) -> None:
        """The attempt is dropped before anything is sent."""
        asked = self.world.calling
        assert asked is not None
        if asked.may_compact:
            self.world.calling = None
            self.end_compaction(data, "overflow" if asked.must_compact else "auto", works, late)

    def end_compaction(self, data: st.DataObject, trigger: Any, works: bool, late: bool) -> None:
        state = self.world.state
        base = state.base - late
        history = state.history
        ends = [i for i in range(state.change.covers, len(history) + 1) if i == 0 or not calls_of(history[i - 1])]
        results = [r.call_id for m in history if isinstance(m, ToolMessage) for r in m.results]
        masked = data.draw(st.lists(st.sampled_from(results), unique=True, max_size=2)) if results else []
        covers = data.draw(st.sampled_from(ends)) if ends else state.change.covers
        summary = UserMessage("What came before.", mark="summary") if data.draw(st.booleans()) else None
        change = Change(covers, summary, tuple([Masked(m, "[left out]") for m in masked])) if works else None
        error = None if works else REFUSED
        before = list(state.history)
        took = self.feed(CompactionEnded(base, trigger, change, error, 100, 10, Usage(2, 1)))
        self.spent += 3 * took
        assert state.history[: len(before)] == before, "X: a compaction changed the history"

    def undo_compaction(self) -> None:
        views = self.world.state.views
        there = bool(views and not views[-1].cleared)
        assert self.feed(UndoCompaction()) is there

    @precondition(lambda self: self.world.calling is not None)
    @rule(cause=st.sampled_from(["tokens", "cost"]), stop=st.booleans())
    def forbid(self, cause: str, stop: bool) -> None:
        asked = self.world.calling
        assert asked is not None
        self.world.calling = None
        assert self.feed(Stop("enough") if stop else LimitHit(cause))

    @precondition(lambda self: self.world.state.running and not self.world.halting)
    @rule()
    def spend_elsewhere(self) -> None:
        self.spent += 4
        assert self.feed(SpentElsewhere(Usage(3, 1), 1, 2))

    def crash(self) -> None:
        """The process is gone; another one folds the journal."""
        policy = self.world.machine.policy
        self.world.resume()
        self.world.machine.policy = policy

    # --- tools -------------------------------------------------------------------------------------------------------

    def some(self, data: st.DataObject, of: dict[str, ToolCall]) -> ToolCall:
        return of.pop(data.draw(st.sampled_from(sorted(of))))

    @precondition(lambda self: self.world.due)
    @rule(data=st.data())
    def call_begins(self, data: st.DataObject) -> None:
        call = self.some(data, self.world.due)
        self.world.begun[call.id] = call
        self.feed(CallBegins(call.id, "sha", data.draw(st.booleans())))

    @precondition(lambda self: self.world.due)
    @rule(data=st.data())
    def another_call_begins(self, data: st.DataObject) -> None:
        """The same rule once more, so that it is chosen more often."""
        self.call_begins(data)

    @precondition(lambda self: self.world.due)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["approval", "approval", "external", "question"]),
        for_s=st.sampled_from([None, 500.0]),
    )
    def call_waits(self, data: st.DataObject, kind: Any, for_s: float | None) -> None:
        call = self.some(data, self.world.due)
        self.feed(CallWaits(call.id, kind, "may it?", None if for_s is None else self.world.now + for_s))

    @precondition(lambda self: self.world.due)
    @rule(data=st.data())
    def call_is_refused(self, data: st.DataObject) -> None:
        call = self.some(data, self.world.due)
        self.feed(CallEnded(ToolResult(call.id, "no", Denied("x"))))

    @precondition(lambda self: self.world.begun)
    @rule(data=st.data(), fails=st.booleans(), final=st.booleans())
    def call_ends(self, data: st.DataObject, fails: bool, final: bool) -> None:
        call = self.some(data, self.world.begun)
        result = ToolResult(call.id, "r", Failed(REFUSED)) if fails else ToolResult(call.id, "r")
        self.feed(CallEnded(result, final))

    def outcome_from_outside(self, data: st.DataObject) -> None:
        """For a call that waits, or for one that nobody knows, or that has its outcome long since."""
        waiting = self.waiting()
        self.feed(CallEnded(ToolResult(data.draw(st.sampled_from(waiting)) if waiting else "t1.s1.c9", "late")))

    @precondition(lambda self: self.world.halting)
    @rule(text=st.sampled_from([None, "half a sen"]))
    def everything_has_stopped(self, text: str | None) -> None:
        self.world.halting = False
        self.world.due.clear()
        self.world.begun.clear()
        if self.feed(Halted(text, usage=Usage(1, 1))):
            self.spent += 2

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def one_end_for_each_call(self) -> None:
        events = self.world.events
        started = Counter(e.call_id for e in events if type(e) is ToolStarted)
        finished = Counter(e.call_id for e in events if type(e) is ToolFinished)
        assert all(n == 1 for n in finished.values()), "E1: a call ended twice"
        assert all(n == 1 for n in started.values()) and not set(finished) - set(started), "E4: an end without a start"
        ends = [e.result.turn for e in events if type(e) is TurnFinished]
        assert len(set(ends)) == len(ends) == self.world.state.turns - self.world.state.running

    @invariant()
    def usage_is_true(self) -> None:
        usage = self.world.state.usage
        assert (usage.input_tokens or 0) + (usage.output_tokens or 0) == self.spent, "E10: usage is not what was spent"

    @invariant()
    def the_transcript_only_grows_until_the_view_changes(self) -> None:
        """T7, X4."""
        base, before = self.last
        state = self.world.state
        if base == state.base:
            assert all(a == b for a, b in zip(before, state.transcript, strict=False)), "T7: a message was changed"
            assert len(state.transcript) >= len(before)
        self.last = state.base, list(state.transcript)

    @invariant()
    def a_provider_takes_it(self) -> None:
        if self.world.calling is not None:
            api = APIS[self.requests % len(APIS)]
            assert not refused(api, self.world.state.transcript), api

    def teardown(self) -> None:
        self.world.check_folded()
        for api in APIS:
            assert not refused(api, self.world.state.transcript), f"T8: {api} refuses the transcript"


def calls_of(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and bool(message.tool_calls)


Chaos.TestCase.settings = examples(200, stateful_step_count=60, suppress_health_check=list(HealthCheck))
TestChaos = Chaos.TestCase
