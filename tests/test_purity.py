"""core and wire open nothing: whole conversations run through machine, codecs and decoders while the world is shut.

import-linter sees what the pure floors import; this sees what they do. While `shut_world` is in force every audit event but
those of `HARMLESS` fails the test (files, sockets, processes, imports …), and so does reading clock, chance or environment.
The bytes of the model come from the serving codecs, which are pure as well and run inside, too.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import msgspec
import pytest

from turnwise.core.content import BlobRef, Image, Text, ToolCall
from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.errors import ErrorInfo
from turnwise.core.events import Event, TurnFinished
from turnwise.core.evolve import fold
from turnwise.core.inputs import (
    CallBegins,
    CallEnded,
    CallModel,
    Effect,
    Finish,
    Halt,
    Halted,
    Input,
    Interrupt,
    ModelFailed,
    ModelReplied,
    RunTool,
    Steer,
    UserInput,
)
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Failed, InvalidArguments, ToolResult, result_of
from turnwise.core.principal import LOCAL
from turnwise.core.reducer import Reducer
from turnwise.core.repair import repair
from turnwise.core.request import RequestHead, ToolSpec
from turnwise.core.result import TurnResult
from turnwise.core.turn import Machine, Policy
from turnwise.testing import call, check, error_event, raw_call, text, think
from turnwise.wire import APIS, codec
from turnwise.wire.base import Codec, assemble
from turnwise.wire.serve import ApiError, Exchange, Response, ServeCodec, serve_codec

# --- the shut world ---------------------------------------------------------------------------------------------------

HARMLESS = frozenset(("compile", "exec", "sys._getframe"))
"""msgspec evaluates a type's annotations, which are text, when the type is first used; some become `typing` objects."""

_watched: set[int] = set()
_seen: list[str] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watched and event not in HARMLESS and threading.get_ident() in _watched:
        _seen.append(event)
        raise RuntimeError(f"not pure: {event} {args!r:.200}")


class _NoEnvironment:
    """Whatever is asked of it is refused."""

    def __getattribute__(self, name: str) -> NoReturn:
        _refuse(f"os.environ.{name}")

    def __getitem__(self, name: str) -> NoReturn:
        _refuse(f"os.environ[{name!r}]")


def _refuse(what: str) -> NoReturn:
    _seen.append(what)
    raise RuntimeError(f"not pure: {what}")


def _refusing(what: str) -> Callable[..., NoReturn]:
    return lambda *_: _refuse(what)


_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")
_CHANCE = ("random", "randint", "choice", "uniform", "getrandbits")


@pytest.fixture
def shut_world() -> Iterator[Callable[[], Any]]:
    """A context manager that shuts the world for this thread and, at its end, fails if anything was tried."""
    if not getattr(sys, "_turnwise_purity_audit", False):
        sys.addaudithook(_audit)
        sys._turnwise_purity_audit = True  # type: ignore[attr-defined]

    @contextmanager
    def shut() -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in _CLOCKS:
                patch.setattr(time, name, _refusing(f"time.{name}"))
            for name in _CHANCE:
                patch.setattr(random, name, _refusing(f"random.{name}"))
            patch.setattr(os, "urandom", _refusing("os.urandom"))
            patch.setattr(os, "getenv", _refusing("os.getenv"))
            patch.setattr(os, "environ", _NoEnvironment())
            _seen.clear()
            _watched.add(threading.get_ident())
            try:
                yield
            finally:
                _watched.clear()
        assert not _seen, f"tried: {_seen}"

    return shut  # type: ignore[return-value]


since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="threads are audited from Python 3.12 on")


@pytest.mark.parametrize(
    "use",
    [
        "open('/dev/null')",
        "os.listdir('/')",
        "socket.socket()",
        "socket.getaddrinfo('localhost', 80)",
        "subprocess.run(['true'])",
        "import turnwise.nothing",
        pytest.param("threading.Thread(target=print).start()", marks=since_312),
        "time.time()",
        "time.monotonic()",
        "random.random()",
        "os.urandom(4)",
        "os.environ['HOME']",
        "os.environ.get('HOME')",
    ],
)
def test_a_planted_use_is_caught_even_if_its_error_is_swallowed(use: str, shut_world: Callable[[], Any]) -> None:
    planted = compile(use, "planted", "exec")
    with pytest.raises(AssertionError, match="tried:"), shut_world(), suppress(Exception):
        exec(planted, {m.__name__: m for m in (os, random, socket, subprocess, threading, time)})


# --- a driver without I/O ---------------------------------------------------------------------------------------------

TOOL = ToolSpec("look", "Look something up.", '{"type":"object","properties":{"what":{"type":"string"}}}')
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(16)
REF = BlobRef("a" * 64, len(PICTURE), "image/png")
CUT = 40
"""Bytes of a response that arrive before an interrupt."""
JSON = {"content-type": "application/json"}


class Pure:
    """A conversation over one API: what a session does, with the world left out. `script` holds the model's responses."""

    def __init__(self, api: str, script: list[Response | ApiError], *, stream: bool, split: int | None) -> None:
        self.codec: Codec = codec(api)
        self.serving: ServeCodec = serve_codec(api)
        self.api, self.script, self.stream, self.split = api, script, stream, split
        check(api, {})  # loads the validator, which is no part of the codec
        self.journal: list[Entry] = [SessionCreated("s", LOCAL, 0.0)]
        self.machine = Machine(fold(self.journal), Policy(restart="before_commit"))
        self.events: list[Event] = []
        self.results: list[TurnResult] = []
        self.bodies: list[dict[str, Any]] = []
        self.now = 0.0
        self.interrupt_at: int | None = None

    def say(self, body: str | tuple[Text | Image, ...]) -> TurnResult:
        self.feed(UserInput(body, Limits(steps=20)))
        return self.results[-1]

    def feed(self, given: Input) -> None:
        self.now += 1.0
        folded = self.machine.feed(given, self.now)
        self.journal += folded.entries
        self.events += folded.events
        for event in folded.events:
            if type(event) is TurnFinished:
                self.results.append(event.result)
        for effect in folded.effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case CallModel():
                self.call_model(effect)
            case RunTool(call=made):
                self.feed(CallBegins(made.id, "0" * 64))
                self.feed(CallEnded(outcome_of(made)))
            case Halt():
                self.feed(Halted("kept", "m", "p"))
            case Finish():
                pass

    def call_model(self, asked: CallModel) -> None:
        number = len(self.bodies) + 1
        body = self.request()
        said = self.script[number - 1]
        exchange = Exchange(number, "m", 0, len(body), True)
        status, headers, pieces = self.serve(said, exchange)
        decoder = self.codec.decoder(status, headers, step=f"t{asked.turn}.s{asked.step}", attempt=asked.attempt)
        reducer = Reducer()
        if self.interrupt_at == number:
            self.events += reducer.feed(decoder.feed(b"".join(pieces)[:CUT]))
            reducer.partial()
            self.feed(Steer("wait"))
            self.feed(Interrupt())
            return
        for piece in pieces:
            for part in (
                [piece[i : i + self.split] for i in range(0, len(piece), self.split)] if self.split else [piece]
            ):
                self.events += reducer.feed(decoder.feed(part))
        self.events += reducer.feed(decoder.finish())
        done = reducer.finish("p", "m", self.now)
        if done.error is not None or done.message is None:
            self.feed(
                ModelFailed(done.error or ErrorInfo("provider", "protocol", "empty"), reducer.shown, done.usage, 0.5)
            )
        else:
            message = msgspec.structs.replace(done.message, turn=asked.turn, step=asked.step)
            self.feed(ModelReplied(message))

    def request(self) -> bytes:
        transcript = self.machine.state.transcript
        head = self.codec.head_for(RequestHead("m", "Be brief.", (TOOL,), stream=self.stream), transcript)
        segments = self.codec.encode_messages(transcript, 0, {REF.sha256: PICTURE})
        request = assemble(self.codec.encode_head(head), segments)
        body = msgspec.json.decode(request.body)
        assert check(self.api, body, path=self.serving.base + request.path) == []
        self.bodies.append(body)
        return request.body

    def serve(self, said: Response | ApiError, exchange: Exchange) -> tuple[int, dict[str, str], list[bytes]]:
        if isinstance(said, ApiError):
            return said.status, self.refused(said) | {"retry-after": "1"}, [self.serving.error_body(said, exchange)]
        if self.stream:
            return 200, {"content-type": self.serving.stream_type}, list(self.serving.stream(said, exchange))
        if said.error:
            return said.error.status, self.refused(said.error), [self.serving.body(said, exchange)]
        return 200, JSON, [self.serving.body(said, exchange)]

    def refused(self, error: ApiError) -> dict[str, str]:
        return {**JSON, **self.serving.error_headers(error)}


def outcome_of(made: ToolCall) -> ToolResult:
    if not made.arguments.startswith("{"):
        return result_of(made.id, InvalidArguments("not an object"))
    if "fail" in made.arguments:
        return result_of(made.id, Failed(ErrorInfo("tool", "tool_failed", "no")))
    return ToolResult(made.id, (Text("found"), Image(REF)) if "picture" in made.arguments else "found")


SCRIPT: list[Response | ApiError] = [
    Response(
        (think("Let me look."), text("Looking."), call("look", what="a picture"), call("look", what="fail")),
        interleaved=True,
    ),
    ApiError(429, "slow down"),
    Response((text("So "), error_event("overloaded", status=529, type="overloaded_error"))),
    Response((raw_call("look", "not json"),)),
    Response((text("Done."),)),
    Response((text("Half of it"), raw_call("look", '{"what": "cu')), stop="length"),
    Response((text("Whole."),)),
    Response((text("A long answer that nobody will read to its end."),)),
    Response((text("Still here."),)),
    ApiError(401, "no such key"),
]


@pytest.mark.parametrize("split", [None, 1], ids=["whole", "bytewise"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
@pytest.mark.parametrize("api", APIS)
def test_conversations_open_nothing(api: str, stream: bool, split: int | None, shut_world: Callable[[], Any]) -> None:
    """ARCHITECTURE 1: PURE. Tools in parallel, images, a retry, a broken stream, a cut response, an interrupt, an error."""
    talk = Pure(api, SCRIPT, stream=stream, split=split)  # codecs are loaded here
    with shut_world():
        first = talk.say((Text("What is this?"), Image(REF)))
        second = talk.say("More.")
        talk.interrupt_at = len(talk.bodies) + 1
        third = talk.say("And more.")
        fourth = talk.say("Are you there?")
        fifth = talk.say("Still?")
        again = fold(talk.journal)
        wire = msgspec.json.encode(talk.journal)
        read = msgspec.json.decode(wire, type=list[Entry])
    assert [r.reason for r in (first, second, third, fourth, fifth)] == [
        "completed", "completed", "interrupted", "completed", "error",
    ]  # fmt: skip
    assert (first.text, first.steps, first.calls) == ("Done.", 3, 3)
    assert second.text == "Whole." and fourth.text == "Still here."
    assert fifth.error is not None and fifth.error.code == "auth"
    assert len(talk.bodies) == len(SCRIPT)
    assert again.transcript == talk.machine.state.transcript, "the journal tells another story than the live state"
    assert read == talk.journal


def test_repair_opens_nothing(shut_world: Callable[[], Any]) -> None:
    """T6"""
    asking = AssistantMessage((ToolCall("t1.s1.c0", "look", "{}"), ToolCall("t1.s1.c0", "look", "{}")))
    broken: list[Message] = [UserMessage("Hi"), asking, UserMessage(""), ToolMessage((ToolResult("other", "x"),))]
    with shut_world():
        mended = repair(broken)
        assert repair(mended) is mended
    assert mended != broken
