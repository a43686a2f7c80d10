"""The pure half of compaction: whatever the conversation, the settings and the model's summaries, what must hold of a plan."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.compaction import Compaction, Drop, Mask, Summarise
from turnwise.core.compaction_plan import (
    Frame,
    Planned,
    SummaryMade,
    SummaryWanted,
    keep_from,
    messages_tokens,
    plan,
    report,
)
from turnwise.core.content import BlobRef, Image, Text, ToolCall
from turnwise.core.errors import ErrorInfo
from turnwise.core.estimate import Calibration, Weight, corrected, first_guess, request_weight, weigh
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Failed, ToolResult
from turnwise.core.repair import repair
from turnwise.core.summary import (
    HEADINGS,
    INTRODUCTION,
    LEFT_OUT,
    check_summary,
    instructions,
    shortened,
    summary_request,
)
from turnwise.core.usage import Usage
from turnwise.core.view import WHOLE, Change, Masked, project, then

GOOD = "".join([f"## {heading}\nnone\n" for heading in HEADINGS])
BROKEN = ErrorInfo("provider", "overloaded", "busy", retryable=True)
PICTURE = Image(BlobRef("0" * 64, 9000, "image/png"))


def size(message: Message) -> int:
    return Calibration(0.25).tokens(weigh(message))


def planned(history: list[Message], view: Change, wanted: Compaction, frame: Frame, answer: object = None) -> Planned:
    """The plan, with the model's answer to every request for a summary."""
    planning = plan(history, view, wanted, frame, size)
    try:
        next(planning)
        while True:
            planning.send(SummaryMade(GOOD) if answer is None else answer)  # type: ignore[arg-type]
    except StopIteration as end:
        return end.value


def frame_for(history: list[Message], view: Change, share: float, *, most: int = 10**9) -> Frame:
    return Frame(50, 50 + int(messages_tokens(history, view, size) * share), most, 40_000, 1, 9.0)


def conversation(turns: int, steps: int, result: str = "r" * 600) -> list[Message]:
    """Turns in which the model calls two tools in each step but the last."""
    out: list[Message] = []
    for turn in range(1, turns + 1):
        out.append(UserMessage(f"Please do thing {turn}.", turn, 1, 0, 1.0))
        for step in range(1, steps + 1):
            calls = [ToolCall(f"t{turn}.s{step}.c{n}", "look", '{"at": 1}') for n in range(2)]
            out.append(AssistantMessage((Text("Looking."), *calls), turn, step))
            out.append(ToolMessage(tuple([ToolResult(c.id, result) for c in calls]), turn, step))
        out.append(AssistantMessage(f"Thing {turn} is done.", turn, steps + 1))
    return out


# --- any conversation -------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Valid histories of every shape, also ones that stop inside a turn."""
    texts = st.sampled_from(["", "ok", "naïve 漢字 " * 20, 'say "no"\n' * 60, "x" * 3000])
    out: list[Message] = []
    for turn in range(1, draw(st.integers(1, 4)) + 1):
        out.append(UserMessage(draw(texts) or "Go on.", turn, 1, 0, 1.0))
        for step in range(1, draw(st.integers(0, 5)) + 1):
            calls = [ToolCall(f"t{turn}.s{step}.c{n}", "look", "{}") for n in range(draw(st.integers(1, 3)))]
            out.append(AssistantMessage((Text("Looking."), *calls), turn, step))
            out.append(ToolMessage(tuple([draw(result_of(call)) for call in calls]), turn, step))
            if draw(st.booleans()):
                out.append(UserMessage("Also this.", turn, step + 1, draw(st.integers(1, 3)), 2.0))
        if draw(st.booleans()) or turn < 4:
            out.append(AssistantMessage(draw(texts) or "Done.", turn, 9))
    return out[: draw(st.integers(1, len(out)))] if not isinstance(out[-1], ToolMessage) else out


@st.composite
def result_of(draw: st.DrawFn, call: ToolCall) -> ToolResult:
    text = draw(st.sampled_from(["", "short", "r" * 700, "漢" * 2000, "y" * 20_000]))
    body = (Text(text), PICTURE) if draw(st.integers(0, 4)) == 0 else text
    summary = draw(st.sampled_from([None, None, "It was fine.", "z" * 900]))
    outcome = Failed(BROKEN) if draw(st.integers(0, 5)) == 0 else ToolResult("", "").outcome
    return ToolResult(call.id, body, outcome, summary)


settings_of = st.builds(
    Compaction,
    keep_tokens=st.none() | st.sampled_from([1, 50, 1000, 10**6]),
    keep_turns=st.none() | st.integers(1, 4),
    strategies=st.lists(st.sampled_from([Mask(), Summarise(), Drop(), Mask(min_bytes=0)]), min_size=1, max_size=4).map(
        tuple
    ),
)
answers = st.sampled_from(
    [SummaryMade(GOOD), SummaryMade(""), SummaryMade("## Open items\n" + "w" * 9000), SummaryMade("No items."), BROKEN]
)


def valid(history: list[Message]) -> list[Message]:
    """Ends where a request may be made or the session is idle: never between a call and its result."""
    last = history[-1]
    return history[:-1] if isinstance(last, AssistantMessage) and last.tool_calls else history


@given(
    histories(), st.lists(st.tuples(settings_of, answers, st.floats(0.05, 1.0), st.booleans()), min_size=1, max_size=4)
)
@examples(400)
def test_compactions_one_after_the_other(
    history: list[Message], rounds: list[tuple[Compaction, object, float, bool]]
) -> None:
    """T1, X2, X3, X6: pairs stay together, each change makes the conversation smaller or is refused with a reason, and what was masked
    keeps its text."""
    history = valid(history)
    if not history:
        return
    original, view = list(history), WHOLE
    for wanted, answer, share, must in rounds:
        frame = frame_for(history, view, share, most=0 if must else 10**9)
        before = messages_tokens(history, view, size)
        made = planned(history, view, wanted, frame, answer)
        assert history == original and all(a is b for a, b in zip(history, original, strict=True))
        if made.change is None:
            assert made.why_not in ("nothing_to_compact", "failed")
            assert (made.why_not == "failed") == (made.error is not None)
            continue
        after = then(view, made.change)
        shown = project(history, after)
        assert messages_tokens(history, after, size) < before, "the estimate strictly decreases"
        assert shown and repair(shown) is shown, "T1: calls and results stay together"
        assert after.covers >= view.covers
        assert project(history, after) == shown, "X6"
        kept = {m.call_id: m.text for m in view.masked}
        assert kept.items() <= {m.call_id: m.text for m in after.masked}.items(), "X6: never masked differently"
        if after.covers > view.covers:
            assert not isinstance(history[after.covers] if after.covers < len(history) else None, ToolMessage), "X2"
            assert after.summary is not None and after.summary.mark == "summary"
        said = report(history, view, made, frame, size)
        assert said.compacted and said.tokens_after < said.tokens_before
        assert said.messages_after == len(shown)
        view = after


@given(histories(), settings_of)
@examples(100)
def test_what_the_model_has_not_seen_stays(history: list[Message], wanted: Compaction) -> None:
    """X2: results that were never sent, and input that was never answered, are kept as they are unless nothing else helps."""
    history = valid(history)
    if not history:
        return
    made = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.1))
    if made.change is None:
        return
    shown = project(history, made.change)
    at = max([n for n, m in enumerate(history) if isinstance(m, AssistantMessage)], default=-1)
    assert all(a is b for a, b in zip(reversed(shown), reversed(history[at + 1 :]), strict=False))
    assert len(shown) >= len(history) - at - 1


@given(histories(), st.integers(1, 3))
@examples(60)
def test_masking_again_changes_nothing(history: list[Message], times: int) -> None:
    """X6: idempotent."""
    history = valid(history)
    if not history:
        return
    wanted = Compaction(strategies=(Mask(),), keep_tokens=1)
    first = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.01))
    view = WHOLE if first.change is None else then(WHOLE, first.change)
    for _ in range(times):
        again = planned(history, view, wanted, frame_for(history, view, 0.01))
        assert again == Planned(None, "nothing_to_compact")


# --- one conversation each --------------------------------------------------------------------------------------------


def test_old_results_give_way_first_and_recent_ones_stay() -> None:
    """X6: a summary made by the tool, else a placeholder that names tool and size; pictures too; outcomes stay what they were."""
    history = conversation(1, 6)
    results = (
        ToolResult("t1.s1.c0", (Text("seen"), PICTURE), Failed(BROKEN)),
        ToolResult("t1.s1.c1", "r" * 600, summary="Fine."),
    )
    history[2] = msgspec.structs.replace(history[2], results=results)
    made = planned(history, WHOLE, Compaction(), frame_for(history, WHOLE, 0.6))
    assert made.change is not None and made.change.covers == 0 and made.change.summary is None
    shown = project(history, made.change)
    masked = shown[2]
    assert isinstance(masked, ToolMessage)
    assert [r.text for r in masked.results] == [
        "[The result of look was left out to make room: 4 bytes and 1 file.]",
        "Fine.",
    ]
    assert [r.outcome for r in masked.results] == [r.outcome for r in results]
    assert shown[-3] is history[-3] and shown[-2] is history[-2], "recent results stay"
    said = report(history, WHOLE, made, frame_for(history, WHOLE, 0.6), size)
    assert said.results_summarised == 1 and said.results_masked == len(made.change.masked) - 1
    assert (said.turns_before, said.turns_compacted, said.turns_kept, said.summary_chars) == (1, 1, 0, 0)


def test_a_cut_falls_inside_one_long_turn_and_the_request_is_kept_word_for_word() -> None:
    """X2: also inside one long turn."""
    history = conversation(1, 40)[:-1]
    wanted = Compaction(strategies=(Summarise(),), keep_turns=1)
    made = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.3))
    assert made.change is not None and 0 < made.change.covers < len(history)
    shown = project(history, made.change)
    assert isinstance(shown[1], AssistantMessage) and isinstance(shown[2], ToolMessage)
    first = shown[0]
    assert isinstance(first, UserMessage) and first.mark == "summary"
    assert first.text.startswith(INTRODUCTION) and first.text.endswith("Please do thing 1.")


def test_whole_turns_are_kept_if_they_fit() -> None:
    history = conversation(6, 1)
    for keep in (1, 2, 3):
        start = keep_from(history, WHOLE, Compaction(keep_turns=keep), 10**6, size)
        assert history[start] == UserMessage(f"Please do thing {7 - keep}.", 7 - keep, 1, 0, 1.0)
    tight = keep_from(history, WHOLE, Compaction(keep_turns=6), 400, size)
    assert tight > 0
    by_tokens = keep_from(history, WHOLE, Compaction(keep_tokens=500), 10**6, size)
    assert 300 < messages_tokens(history[by_tokens:], WHOLE, size) <= 500


def test_a_second_summary_is_made_from_the_first() -> None:
    """An earlier summary is what the next one is made from, whole, however tight the prompt is."""
    history = conversation(8, 2)
    wanted = Compaction(strategies=(Summarise(),))
    earlier = GOOD + "The port is 4711. " * 20
    first = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.6), SummaryMade(earlier))
    assert first.change is not None
    frame = msgspec.structs.replace(frame_for(history, first.change, 0.4), summary_bytes=2000)
    planning = plan(history, first.change, wanted, frame, size)
    asked = next(planning)
    assert isinstance(asked, SummaryWanted)
    assert earlier.strip() in asked.prompt and len(asked.prompt.encode()) <= 2000
    with pytest.raises(StopIteration) as end:
        planning.send(SummaryMade(GOOD))
    second = end.value.value.change
    assert second.covers > first.change.covers and project(history, then(first.change, second))[0] is second.summary


@pytest.mark.parametrize(
    ("text", "stop", "problem"),
    [
        (" \n", "stop", "empty"),
        ("Everything is fine.", "stop", "open items"),
        (GOOD, "length", "cut off"),
        (GOOD + "w" * 100_000, "stop", "no smaller"),
    ],
)
def test_a_summary_that_will_not_do_is_not_used(text: str, stop: str, problem: str) -> None:
    """X3: the history stays as it is, and the failure says why."""
    history = conversation(4, 2)
    wanted = Compaction(strategies=(Summarise(),))
    made = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.5), SummaryMade(text, stop))  # type: ignore[arg-type]
    assert made.change is None and made.why_not == "failed"
    assert made.error is not None and made.error.code == "bad_summary" and problem in made.error.message
    assert check_summary(GOOD, "stop", 10, 100) is None


def test_dropping_is_the_last_resort() -> None:
    """After a failed summary nothing is dropped while the request still fits; if it does not, as little as will do."""
    history = conversation(6, 1)
    wanted = Compaction(strategies=(Summarise(), Drop()))
    fits = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.5), BROKEN)
    assert (fits.change, fits.why_not, fits.error) == (None, "failed", BROKEN)
    must = planned(history, WHOLE, wanted, frame_for(history, WHOLE, 0.5, most=100), BROKEN)
    assert must.change is not None and must.error is BROKEN
    alone = planned(history, WHOLE, Compaction(strategies=(Drop(),)), frame_for(history, WHOLE, 0.5))
    assert alone.change is not None and alone.error is None and alone.change.summary is not None
    assert alone.change.summary.text.startswith(LEFT_OUT)
    one_less = Change(alone.change.covers - 2, alone.change.summary)
    assert messages_tokens(history, one_less, size) > frame_for(history, WHOLE, 0.5).room


def test_dropping_keeps_an_earlier_summary_and_says_once_what_is_missing() -> None:
    history = conversation(8, 2)
    first = planned(history, WHOLE, Compaction(strategies=(Summarise(),)), frame_for(history, WHOLE, 0.6))
    assert first.change is not None
    view = first.change
    for _ in range(2):
        made = planned(history, view, Compaction(strategies=(Drop(),), keep_tokens=1), frame_for(history, view, 0.7))
        assert made.change is not None
        view = then(view, made.change)
        said = project(history, view)[0].content[0]  # type: ignore[union-attr]
        assert isinstance(said, Text) and said.text.count(LEFT_OUT) == 1 and "## Open items" in said.text


def test_a_result_that_no_window_holds_gives_way_when_nothing_else_helps() -> None:
    history: list[Message] = [
        UserMessage("Read it.", 1, 1),
        AssistantMessage((ToolCall("t1.s1.c0", "read", "{}"), ToolCall("t1.s1.c1", "read", "{}")), 1, 1),
        ToolMessage((ToolResult("t1.s1.c0", "a" * 90_000), ToolResult("t1.s1.c1", "b" * 400)), 1, 1),
    ]
    made = planned(history, WHOLE, Compaction(), Frame(50, 500, 1000, 4000), BROKEN)
    assert made.change is not None and [m.call_id for m in made.change.masked] == ["t1.s1.c0"]
    assert "Ask for less of it" in made.change.masked[0].text
    assert planned(history, WHOLE, Compaction(strategies=(Mask(), Summarise())), Frame(50, 500, 1000, 4000)) == Planned(
        None, "nothing_to_compact"
    )


def test_nothing_to_do_and_nothing_to_do_it_with() -> None:
    history = conversation(1, 0)
    assert planned(history, WHOLE, Compaction(), Frame(50, 60, 1000, 4000)).why_not == "nothing_to_compact"
    assert planned(history, WHOLE, Compaction(strategies=()), Frame(50, 60, 1000, 4000)).why_not == "no_strategy"
    assert planned([], WHOLE, Compaction(), Frame(50, 60, 1000, 4000)).why_not == "nothing_to_compact"


def test_the_prompt_for_a_summary() -> None:
    """No tools, no roles to be continued: one text with everything in it, thinking and media in words."""
    history = [*conversation(1, 1), UserMessage((Text("See {this}"), PICTURE), 2, 1)]
    prompt = summary_request(history, 10_000)
    for piece in (
        "[user]\nPlease do thing 1.",
        '[assistant calls look]\n{"at": 1}',
        "[result of look]\nrrr",
        "See {this}\n(an image)",
    ):
        assert piece in prompt
    assert all(f"## {heading}" in instructions("Mind the ports.") for heading in HEADINGS)
    assert instructions("Mind the ports.").endswith("Mind the ports.")
    for limit in (300, 1000, 3000):
        assert len(summary_request(conversation(20, 3), limit).encode()) <= limit


@given(st.text(max_size=400), st.integers(0, 300))
def test_texts_are_shortened_between_characters(text: str, limit: int) -> None:
    """Never cut inside a character, never longer than allowed but for the mark itself."""
    cut = shortened(text, limit)
    assert cut == text or len(cut.encode()) <= max(limit, 60)


# --- views ------------------------------------------------------------------------------------------------------------


def test_a_view_changes_only_what_it_names() -> None:
    history = conversation(2, 1)
    view = Change(4, UserMessage("So far.", mark="summary"), (Masked("t2.s1.c0", "short"),))
    shown = project(history, view)
    assert shown[0] is view.summary and shown[1] is history[4] and shown[-1] is history[-1]
    tools = shown[3]
    assert isinstance(tools, ToolMessage) and [r.text for r in tools.results] == ["short", "r" * 600]
    assert project(history, WHOLE) == history
    twice = then(view, Change(4, None, (Masked("t2.s1.c0", "other"), Masked("t2.s1.c1", "new"))))
    assert {m.call_id: m.text for m in twice.masked} == {"t2.s1.c0": "short", "t2.s1.c1": "new"}, "X6"


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": 0},
        {"at": -0.1},
        {"at": 1.01},
        {"to": 0},
        {"to": 1.5, "at": 1},
        {"at": 0.4, "to": 0.5},
        {"keep_tokens": 0},
        {"keep_turns": 0},
        {"keep_turns": -1},
        {"at": float("nan")},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_at_construction(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Compaction(**wrong)  # type: ignore[arg-type]


def test_strategies_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="placeholder"):
        Mask(placeholder="{nonsense}")
    with pytest.raises(ValueError, match="max_output_tokens"):
        Summarise(max_output_tokens=0)
    assert Compaction(at=1, to=1, keep_tokens=1, keep_turns=1).at == 1


def test_settings_survive_the_journal() -> None:
    wanted = Compaction(0.7, 0.3, 100, 2, (Mask("[{tool}]", 5), Summarise("openai:small"), Drop()))
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=Compaction) == wanted


# --- estimates --------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 10**7), st.none() | st.integers(0, 10**7)), max_size=20))
def test_estimates_stay_within_bounds(reports: list[tuple[int, int | None]]) -> None:
    """X1: whatever a provider reports, an estimate is never nothing and never more than its bytes."""
    known = first_guess("openai.chat")
    for text_bytes, tokens in reports:
        known = corrected(known, Weight(text_bytes), Usage(tokens))
    assert 0.05 <= known.tokens_per_byte <= 1.0
    assert 50 <= known.tokens(Weight(1000)) <= 1000


def test_estimates_follow_what_the_provider_reports() -> None:
    """X1: corrected by reported usage, cached tokens included, media apart; a guess of ours corrects nothing."""
    guess = first_guess("anthropic.messages")
    request = request_weight(100_000, Weight(0, 1600, 60_000))
    assert request.text_bytes == 40_000
    once = corrected(guess, request, Usage(21_600, cache_read_tokens=20_000))
    assert once.tokens_per_byte == 0.5 and once.tokens(request) == 21_600
    twice = corrected(once, request, Usage(11_600))
    assert twice.tokens_per_byte == 0.375 and twice.seen == 2
    for nothing in (None, Usage(), Usage(5, provenance="estimated")):
        assert corrected(once, request, nothing) is once
    assert first_guess("an.unknown.api").seen == 0


def test_media_do_not_count_by_their_bytes() -> None:
    heavy = weigh(UserMessage((Text("Look."), Image(BlobRef("0" * 64, 5_000_000, "image/png")))))
    assert heavy.media_bytes > 6_000_000 and Calibration(0.25).tokens(heavy) < 2000
