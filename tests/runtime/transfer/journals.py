"""Journals for the tests of exports: one with everything in it, and any that Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from turnwise.core.changes import Compacted, Rewound
from turnwise.core.content import (
    Audio,
    BlobRef,
    Document,
    Image,
    Native,
    Opaque,
    Text,
    Thinking,
    ToolCall,
    Url,
)
from turnwise.core.entries import (
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    Interrupted,
    PartialKept,
    SessionCreated,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from turnwise.core.errors import ErrorInfo
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo, UserMessage
from turnwise.core.outcomes import OK, Failed, ToolResult
from turnwise.core.principal import LOCAL
from turnwise.core.store import NewSession, Scope, SessionInfo, Store
from turnwise.core.usage import Usage
from turnwise.core.view import Change

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 900
"""More than one piece."""
PDF = b"%PDF-1.4\n%%EOF\n"


def ref(name: str, data: bytes, media_type: str) -> BlobRef:
    return BlobRef(name, len(data), media_type)


async def put(store: Store, entries: Sequence[Entry], **row: object) -> SessionInfo:
    """A session with this journal."""
    created = entries[0]
    assert isinstance(created, SessionCreated)
    await store.create(NewSession(id=created.session, **row))  # type: ignore[arg-type]
    await store.append(created.session, 0, entries)
    info = await store.info(created.session)
    assert info is not None
    return info


async def rich(store: Store, id: str = "s1", **row: object) -> SessionInfo:
    """A session with most of what a session can have: attachments, tools, thinking, a steer, a rewind, a compaction, records."""
    blobs = store.blobs("local")
    png = ref(await blobs.put(PNG), PNG, "image/png")
    pdf = ref(await blobs.put(PDF), PDF, "application/pdf")
    empty = ref(await blobs.put(b""), b"", "audio/mpeg")
    asked = UserMessage((Image(png), Document(pdf, "a.pdf"), Audio(empty), Text("What is <this>?")), 1, 1, 0, 1000.0)
    used = ResponseInfo("anthropic", "a-model", None, "tool_calls", "tool_use", Usage(10, 5))
    calls = (
        Thinking("Let me <think>.", "sig", False, "anthropic"),
        Text("I shall look."),
        Opaque("web_search", Native("openai.responses", "{}")),
        ToolCall("t1.s1.c0", "look", '{"at": "<x>"}'),
        ToolCall("t1.s1.c1", "look", "{}"),
    )
    failed = ToolResult("t1.s1.c1", "no such </pre> place", Failed(ErrorInfo("tool", "tool_failed", "no such place")))
    entries: list[Entry] = [
        SessionCreated(id, LOCAL, 999.0),
        InputAccepted(asked, Limits()),
        StepCommitted(AssistantMessage(calls, 1, 1, 1001.0, False, used), 1),
        CallStarted("t1.s1.c0", "look", "sha", True, 1001.0),
        CallStarted("t1.s1.c1", "look", "sha", False, 1001.0),
        SteerAccepted(UserMessage("Be quick.", 1, 2, 0, 1002.0)),
        CallOutcome(failed, "look", True, 1003.0),
        CallOutcome(ToolResult("t1.s1.c0", (Text("seen"), Image(png))), "look", True, 1003.0),
        StepCommitted(AssistantMessage("A dot.", 1, 2, 1004.0, False, used), 1),
        TurnEnded(1, "completed", 1004.0),
        InputAccepted(UserMessage("Forget me.", 2, 1, 0, 1010.0), Limits()),
        StepCommitted(AssistantMessage("Never said.", 2, 1, 1011.0, False, used), 1),
        TurnEnded(2, "completed", 1011.0),
        Rewound(1, 1012.0),
        Compacted(Change(2, UserMessage("In short: dots.", mark="summary")), "manual", 1013.0),
        InputAccepted(UserMessage((Image(Url("http://192.0.2.1/x.png")), Text("And now?")), 3, 1, 0, 1020.0), Limits()),
        Interrupted(3, "user", 1021.0),
        PartialKept(AssistantMessage("Half a sen", 3, 1, 1021.0, True)),
        TurnEnded(3, "interrupted", 1022.0, "user"),
    ]
    info = await put(store, entries, title="Dots & <dashes>", agent="cli", folder="/tmp/x", tags=("a", "b"), **row)
    await store.put_record(Scope("session", id), "note", b'{"n": 1}', schema=3, writer="test")
    await store.put_record(Scope("session", id), "other", b'"x"', ttl_s=3600.0)
    return info


# --- any journal ------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
hostile = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</pre></details><img src=x onerror=alert(1)>",
        '"><svg/onload=alert(1)>',
        "![x](http://192.0.2.1/track.png)",
        "[x](javascript:alert(1))",
        "[x]: javascript&colon;alert(1)",
        "```\n<b>\n```\n<i>",
        "- ```\n  <b>\n  ```\n<script>",
        "~~~\n\t~~~\n<script>\n~~~",
        "# Turn 9\r## User\r\n---",
        "\x00\x1b[2J\u202e",
        "&lt;b&gt; <!-- -->",
    ]
)
said = words | hostile | st.lists(hostile | words, min_size=2, max_size=3).map("\n".join)


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Conversations in which everything that people, models and tools say is anything."""
    out: list[Entry] = [SessionCreated("s1", LOCAL, 0.0)]
    for turn in range(1, draw(st.integers(1, 3)) + 1):
        at, call_id = float(turn), f"t{turn}.s1.c0"
        blocks = (Thinking(draw(said)), Text(draw(said)), ToolCall(call_id, draw(said), draw(said)))
        error = ErrorInfo("tool", "tool_failed", draw(said) or "x")
        outcome = draw(st.sampled_from([OK, Failed(error)]))
        info = ResponseInfo("p", draw(said))
        out += [
            InputAccepted(UserMessage(draw(said) or "x", turn, 1, 0, at), Limits()),
            StepCommitted(AssistantMessage(blocks, turn, 1, at, False, info), 1),
            CallStarted(call_id, "tool", "sha", True, at),
            CallOutcome(ToolResult(call_id, draw(said), outcome), "tool", True, at),
            StepCommitted(AssistantMessage(draw(said) or "y", turn, 2, at), 1),
            TurnEnded(turn, "completed", at, draw(said)),
        ]
    return out
