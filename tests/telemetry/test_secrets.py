"""P6: what was read as a secret is nowhere to be found: logs, events, errors, spans, journals, exports, reprs; what a user wrote is."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.telemetry.conftest import Collector
from tests.telemetry.test_spans import kept_in

from turnwise import Agent, Model, Retry, Runtime, export_session, tool
from turnwise.core.errors import ErrorInfo, TurnwiseError
from turnwise.core.protocols import Blocking
from turnwise.models.auth import Outgoing
from turnwise.models.handle import resolve_model
from turnwise.models.secrets import COVER, MOST_LASTING, MOST_PASSING, Secrets, mask, masked
from turnwise.models.sigv4 import Credentials
from turnwise.telemetry import hide, logs
from turnwise.testing import ScriptedProvider, call, fail, reply

KEY = 'sk-Planted/7f3e"5d1c9a'[:22].replace('"', "x")
TOKEN = "eyJplanted.Token-91c4"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at every level, as text."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(session)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with logs(handler):
        yield out
    root.removeHandler(handler)
    root.setLevel(level)


async def everything_of(
    script: list[Any], prompt: str, collector: Collector, folder: Path, tools: tuple[Any, ...] = (), **options: Any
) -> tuple[str, str]:
    """Run a turn with the planted key; all that can be printed of it, and the journal as it is exported."""
    told = list[str]()
    async with ScriptedProvider(script) as provider, Runtime() as runtime, kept_in(folder) as store:
        collector.watch(runtime, content=True)
        options = {"api_key": KEY, **options}
        agent = Agent(
            "openai:a-model",
            base_url=provider.openai_url,
            tools=tools,
            runtime=runtime,
            store=store,
            retry=Retry(attempts=1),
            **options,
        )
        session = agent.session()
        async with session.stream(prompt) as turn:
            async for event in turn:
                told += [repr(event), msgspec.json.encode(event).decode()]
        told += [repr(agent), repr(agent.models), repr(turn.result), repr(runtime.health.parts)]
        error = turn.result.error
        if error is not None:
            told += [error.for_user(), error.for_log(), error.for_model()]
        exported = b"".join([piece async for piece in export_session(store, session.id)]).decode()
    told += [span.to_json() for span in collector.spans]
    told.append(repr(collector.metrics()))
    return "\n".join(told), exported


@tool
async def leaky() -> str:
    """Fail with the key in the message, as HTTP clients do."""
    raise RuntimeError(f"401 for url https://user:{KEY}@api.test/v1?key={KEY} with headers {{'x-api-key': '{KEY}'}}")


@pytest.mark.parametrize(
    ("script", "tools"),
    [
        ([fail(401, f"Incorrect API key provided: {KEY}. Find it at https://example.test.")], ()),
        ([fail(500, f"upstream said: Bearer {KEY}")], ()),
        ([fail(400, "no", headers={"x-request": KEY}, type=KEY)], ()),
        ([reply(call("leaky")), reply("I see.")], (leaky,)),
    ],
    ids=["401 that echoes the key", "500", "error type", "tool"],
)
async def test_a_planted_key_is_nowhere(
    script: list[Any], tools: tuple[Any, ...], collector: Collector, tmp_path: Path, log: io.StringIO
) -> None:
    """P6"""
    printed, exported = await everything_of(script, "Hi", collector, tmp_path, tools)
    logging.getLogger("other").warning(
        "headers %s of %r", {"Authorization": f"Bearer {KEY}"}, Model("openai:m", api_key=KEY)
    )
    for place, told in (("printed", printed), ("journal", exported), ("log", log.getvalue())):
        assert KEY not in told and KEY[3:] not in told, place
    assert COVER in log.getvalue()


async def test_a_token_that_a_function_gives_is_covered(collector: Collector, tmp_path: Path, log: io.StringIO) -> None:
    """P6: also one that fails, and says why with the token in it."""

    async def token() -> str:
        return TOKEN

    from turnwise.models.handle import resolve_model as resolve

    handle = resolve(Model("azure:m", azure_resource="r", azure_deployment="d", azure_token=token), {})
    assert handle.auth is not None
    headers = await handle.auth.headers(Outgoing("POST", "https://a.test", {}, ()), _none(), 0.0)
    assert headers == {"authorization": f"Bearer {TOKEN}"}
    assert TOKEN not in mask(f"refused: {TOKEN}")
    logging.getLogger("x").error("sent %s", headers)
    assert TOKEN not in log.getvalue()


def _none() -> Blocking:
    return None  # type: ignore[return-value]


async def test_what_a_user_wrote_is_stored_as_it_was_given(collector: Collector, tmp_path: Path) -> None:
    """P6: data is not altered, not even if the user's own words have the key in them; in spans it is covered."""
    printed, exported = await everything_of([reply("I will not tell.")], f"My key is {KEY}", collector, tmp_path)
    assert KEY in exported
    assert KEY not in "".join([span.to_json() for span in collector.spans])
    assert COVER in "".join([span.to_json() for span in collector.spans])
    del printed


async def test_exceptions_in_logs_have_no_secret(log: io.StringIO) -> None:
    """P6: in a traceback, chained ones included, and with arguments that do not fit."""
    hide(KEY)
    try:
        try:
            raise ValueError(f"inner {KEY}")
        except ValueError as error:
            raise RuntimeError(f"outer {KEY}") from error
    except RuntimeError:
        logging.getLogger("x").exception("it failed with %s", KEY)
    said = log.getvalue()
    assert KEY not in said and said.count(COVER) >= 3 and "RuntimeError" in said


def test_reprs_tell_no_secret() -> None:
    """P6"""
    model = Model(f"openai:m@https://user:{KEY}@host.test/v1", api_key=KEY)
    handle = resolve_model(model, {})
    outgoing = Outgoing("POST", f"https://u:{KEY}@h.test", {"authorization": KEY}, ())
    keys = Credentials("AKIA", KEY, TOKEN)
    for value in (model, handle, outgoing, keys, handle.seal, Agent(model)):
        assert KEY not in repr(value) and TOKEN not in repr(value)


def test_an_address_that_is_refused_is_told_without_its_password() -> None:
    """P6: even a password that is too short to be looked for elsewhere."""
    with pytest.raises(TurnwiseError) as caught:
        resolve_model(Model("openai:m", api_key="k", base_url="ftp://me:pw@host"), {})
    assert "pw" not in str(caught.value) and "me:***@host" in str(caught.value)


# --- the registry -----------------------------------------------------------------------------------------------------


def test_short_words_are_no_secrets() -> None:
    """Else the word `postgres` would vanish from every message because it is somebody's password."""
    known = Secrets()
    for word in ("x", "test", "postgres", "not-needed", "EMPTY", "", None):
        known.learn(word)
    assert len(known) == 0 and known.mask("postgres is not-needed") == "postgres is not-needed"
    known.learn("correct-horse-battery-staple")
    known.learn("hunter2hunter2")
    assert known.mask("correct-horse-battery-staple hunter2hunter2") == f"{COVER} {COVER}"


def test_a_secret_is_found_in_the_forms_it_comes_in() -> None:
    known = Secrets()
    known.learn('p/ss"word+1')
    for form in ('p/ss"word+1', "p%2Fss%22word%2B1", 'p/ss\\"word+1'):
        assert known.mask(f"<{form}>") == f"<{COVER}>"
    assert known.mask("Authorization: Basic dXNlcjpwYXNzd29yZA==") == f"Authorization: Basic {COVER}"
    known.learn("abcdefgh1")
    known.learn("abcdefgh1-and-more")
    assert known.mask("abcdefgh1-and-more") == COVER, "the longest first"


def test_the_registry_is_bounded_and_tokens_do_not_push_out_keys() -> None:
    known = Secrets()
    known.learn("lasting-key-1")
    for number in range(5000):
        known.learn(f"token-{number:06}", passing=True)
    assert len(known) == 1 + MOST_PASSING
    assert known.mask("lasting-key-1 token-004999 token-000000") == f"{COVER} {COVER} token-000000"
    for number in range(MOST_LASTING + 5):
        known.learn("lasting-key-1")
        known.learn(f"key-{number:06}")
    assert len(known) == MOST_LASTING + MOST_PASSING
    assert known.mask("lasting-key-1") == COVER, "the one that is in use stays"


def test_an_error_without_secrets_stays_the_same_object() -> None:
    hide(KEY)
    plain = ErrorInfo("tool", "tool_failed", "Nothing to see.")
    assert masked(plain) is plain
    covered = masked(ErrorInfo("tool", "tool_failed", f"m {KEY}", f"h {KEY}", detail=KEY))
    assert (covered.message, covered.hint, covered.detail) == (f"m {COVER}", f"h {COVER}", COVER)
