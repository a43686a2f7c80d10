"""What is asked is kept, and gone on with: which session is meant, what is remembered of it, and what a killed program left behind."""

from __future__ import annotations

import asyncio
import base64
import os
import platform
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from turnwise import Agent, Runtime
from turnwise.core.entries import InputAccepted, SessionCreated
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.principal import LOCAL
from turnwise.core.store import NewSession, Owner, Query, SessionInfo
from turnwise.store.sqlite import SqliteStore
from turnwise.testing import RecordedRequest, ScriptedProvider, call, fail, hang, reply
from turnwise.tools.approval import Ask

if TYPE_CHECKING:
    from .conftest import Cli, Inside

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def said(request: RecordedRequest) -> list[str]:
    """The texts of all messages of a request."""
    found: list[str] = []
    for message in request.body["messages"]:
        content = message["content"]
        found.append(content if isinstance(content, str) else "".join([part.get("text", "") for part in content]))
    return found


def rows(inside: Inside) -> list[SessionInfo]:
    async def read(store: SqliteStore) -> list[SessionInfo]:
        return list(await store.sessions(Query(archived=None)))

    return inside.store(read)


# --- which session ----------------------------------------------------------------------------------------------------


def test_a_question_is_kept_and_gone_on_with(inside: Inside) -> None:
    """D1: after a plain question the session is there, with folder and title; -c sends what was said before."""
    with ScriptedProvider([reply("Rayleigh."), reply("That, too.")]) as provider:
        inside.use(provider)
        first = inside.run("Why is", "the sky blue?")
        assert (first.code, first.out) == (0, b"Rayleigh.\n")
        (row,) = rows(inside)
        assert first.err == f"Kept as session {row.id[:13]}. To go on with it: turnwise -c\n"
        assert (row.title, row.folder, row.agent, row.status) == (
            "Why is the sky blue?",
            str(inside.folder),
            "cli",
            "idle",
        )
        second = inside.run("-c", "And the sea?")
        assert (second.code, second.out) == (0, b"That, too.\n")
        assert said(provider.requests[1]) == ["Why is the sky blue?", "Rayleigh.", "And the sea?"]
    (row,) = rows(inside)
    assert (row.turns, row.messages) == (2, 4)


def test_each_folder_has_a_last_session_of_its_own(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    there = inside.home.parent / "there"
    there.mkdir()
    with ScriptedProvider([reply("a"), reply("b"), reply("c"), reply("d")]) as provider:
        inside.use(provider)
        inside.run("first, here")
        monkeypatch.chdir(there)
        assert inside.run("-c", "more").code == 2
        inside.run("second, there")
        inside.run("-c", "more there")
        monkeypatch.chdir(inside.folder)
        inside.run("-c", "more here")
        assert said(provider.requests[2]) == ["second, there", "b", "more there"]
        assert said(provider.requests[3]) == ["first, here", "a", "more here"]


def test_a_name_begins_a_session_and_goes_on_with_it(inside: Inside) -> None:
    with ScriptedProvider([reply("a"), reply("b"), reply("c")]) as provider:
        inside.use(provider)
        done = inside.run("--session", "the plan", "one")
        assert done.err == "Kept as session the plan. To go on with it: turnwise --session 'the plan'\n"
        inside.run("elsewhere")
        inside.run("--session", "the plan", "two")
        assert said(provider.requests[2]) == ["one", "a", "two"]
    assert sorted(row.name or "" for row in rows(inside)) == ["", "the plan"]


def test_an_id_and_its_beginning_name_a_session(inside: Inside) -> None:
    with ScriptedProvider([reply("a"), reply("b"), reply("c")]) as provider:
        inside.use(provider)
        inside.run("one")
        id = rows(inside)[0].id
        for ref in (id, id[:13]):
            assert inside.run("--session", ref, "more").code == 0
    assert len(rows(inside)) == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-c", "x"), "No session was begun in this folder"),
        (("-c", "--session", "plan", "x"), "There is no session 'plan'"),
        (("--session", "01234567-89ab", "x"), "There is no session '01234567-89ab'"),
        (("--ephemeral", "-c", "x"), "--ephemeral keeps nothing"),
        (("--ephemeral", "--session", "plan", "x"), "--ephemeral keeps nothing"),
        (("--session", " ", "x"), "--session"),
        (("--session", "plan"), "There is no prompt"),
    ],
)
def test_what_cannot_be_meant(inside: Inside, args: tuple[str, ...], told: str) -> None:
    """Nothing is sent, and nothing is begun."""
    with ScriptedProvider([]) as provider:
        inside.use(provider)
        done = inside.run(*args)
    assert (done.code, done.out) == (2, b"") and told in done.err
    assert rows(inside) == []


def test_going_on_without_a_word(inside: Inside) -> None:
    with ScriptedProvider([reply("a")]) as provider:
        inside.use(provider)
        inside.run("one")
        done = inside.run("-c")
    assert done.code == 2 and 'turnwise -c "and then?"' in done.err


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_to_be_forgotten_leaves_nothing(inside: Inside) -> None:
    with ScriptedProvider([reply("a")]) as provider:
        inside.use(provider)
        done = inside.run("--ephemeral", "one")
    assert (done.code, done.out, done.err) == (0, b"a\n", "")
    assert not inside.home.exists()


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_where_nobody_reads_it_nothing_is_said_of_it(inside: Inside, option: str) -> None:
    with ScriptedProvider([reply("a")]) as provider:
        inside.use(provider)
        done = inside.run(option, "one")
    assert (done.code, done.err) == (0, "") and len(rows(inside)) == 1


def test_model_and_instructions_are_those_of_the_session(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says by then is for new sessions; what the command line says is for this one."""
    with ScriptedProvider([reply("x")] * 4) as provider:
        inside.use(provider)
        inside.run("-m", "anthropic:first", "-s", "Be brief.", "one")
        monkeypatch.setenv("TURNWISE_MODEL", "anthropic:environment")
        inside.run("-c", "two")
        inside.run("-c", "-m", "anthropic:second", "-s", "Be long.", "three")
        inside.run("-c", "four")
        models = [request.body["model"] for request in provider.requests]
        assert models == ["first", "first", "second", "second"]
        briefs = [b"Be brief." in request.raw for request in provider.requests]
        assert briefs == [True, True, False, False] and b"Be long." in provider.requests[3].raw


def test_attachments_are_kept(inside: Inside) -> None:
    (inside.folder / "dot.png").write_bytes(PNG)
    with ScriptedProvider([reply("a dot"), reply("black")]) as provider:
        inside.use(provider)
        inside.run("what is this?", "-a", "dot.png")
        (inside.folder / "dot.png").unlink()
        assert inside.run("-c", "which colour?").code == 0
        assert base64.b64encode(PNG) in provider.requests[1].raw


@pytest.mark.parametrize(
    ("args", "stdin", "title"),
    [
        (("review",), b"+ a line\n", "review"),
        ((), b"\n  a long   question\nof two lines", "a long question of two lines"),
        (("-a", "dot.png"), b"", "dot.png"),
        (("x" * 100,), b"", "x" * 59 + "…"),
        (("caf\udce9",), b"", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_title_is_the_first_words(inside: Inside, args: tuple[str, ...], stdin: bytes, title: str) -> None:
    (inside.folder / "dot.png").write_bytes(PNG)
    with ScriptedProvider([reply("a")]) as provider:
        inside.use(provider)
        assert inside.run(*args, stdin=stdin).code == 0
    assert rows(inside)[0].title == title


def test_a_turn_that_could_not_begin_leaves_no_session(inside: Inside) -> None:
    done = inside.run("-m", "anthropic:m", "one")
    assert (done.code, done.out) == (2, b"") and "no API key" in done.err
    assert rows(inside) == []


def test_a_turn_that_failed_is_kept(inside: Inside) -> None:
    """The question is not lost, and is not asked again with the next one unasked."""
    with ScriptedProvider([fail(400, "no"), reply("Now.")]) as provider:
        inside.use(provider)
        failed = inside.run("one")
        assert failed.code == 1 and "turnwise -c" in failed.err
        assert inside.run("-c", "two").out == b"Now.\n"
        assert "one" in said(provider.requests[1])[0]


# --- what was left behind ---------------------------------------------------------------------------------------------


def begun(inside: Inside, owner: Owner | None = None, ttl_s: float = 30.0) -> str:
    """A session of this folder whose turn has begun, in a process that has it claimed, or in none."""

    async def write(store: SqliteStore) -> str:
        id = "01890000-0000-7000-8000-000000000001"
        await store.create(NewSession(id=id, agent="cli", folder=str(inside.folder), title="Asked."))
        accepted = InputAccepted(UserMessage("Asked.", 1, 1, 0, 1.0), Limits())
        await store.append(id, 0, [SessionCreated(id, LOCAL, 1.0), accepted])
        if owner is not None:
            await store.heartbeat(owner, ttl_s)
            await store.claim(id, owner.id)
        return id

    return inside.store(write)


def test_a_turn_that_was_cut_off_is_gone_on_with(inside: Inside) -> None:
    """D2: said, and done, before what is asked now."""
    begun(inside)
    with ScriptedProvider([reply("Answered."), reply("More.")]) as provider:
        inside.use(provider)
        done = inside.run("-c", "and?")
        assert (done.code, done.out) == (0, b"Answered.\nMore.\n")
        assert done.err.startswith("The last turn was cut off before its end, and goes on now.\n")
        assert said(provider.requests[1])[-2:] == ["Answered.", "and?"]


def test_a_turn_that_was_cut_off_is_gone_on_with_alone(inside: Inside) -> None:
    begun(inside)
    with ScriptedProvider([reply("Answered.")]) as provider:
        inside.use(provider)
        done = inside.run("-c")
    assert (done.code, done.out) == (0, b"Answered.\n")
    assert rows(inside)[0].status == "idle"


def test_after_a_kill_the_turn_is_gone_on_with(cli: Cli, inside: Inside) -> None:
    """D1, D2: killed while the model is asked; the question is there, and asked once more."""
    with ScriptedProvider([hang(), reply("At last.")]) as provider:
        env = cli.environment(provider, TURNWISE_HOME=str(inside.home))
        process = subprocess.Popen(
            (sys.executable, "-m", "turnwise.frontends.cli", "one"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=inside.folder,
        )
        cli.started.append(process)
        provider.wait("stalled", 1)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        (row,) = rows(inside)
        assert (row.status, bool(row.owner)) == ("running", True)

        async def its_time_is_over(store: SqliteStore) -> None:
            await store.retire(row.owner)

        inside.store(its_time_is_over)
        inside.use(provider)
        done = inside.run("-c")
    assert (done.code, done.out) == (0, b"At last.\n") and "was cut off" in done.err
    (row,) = rows(inside)
    assert (row.status, row.turns, row.owner) == ("idle", 1, "")


def test_a_session_that_another_process_has_is_busy(inside: Inside) -> None:
    """D3: who has it, and until when; nothing is sent."""
    begun(inside, Owner("other", platform.node(), os.getpid()))
    with ScriptedProvider([]) as provider:
        inside.use(provider)
        done = inside.run("-c", "and?")
    assert (done.code, done.out) == (5, b"")
    assert f"process {os.getpid()} on {platform.node()}" in done.err
    assert re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", done.err)


def test_the_lease_of_a_process_that_is_gone_is_waited_for(inside: Inside) -> None:
    child = subprocess.Popen((sys.executable, "-c", ""))
    child.wait()
    begun(inside, Owner("gone", platform.node(), child.pid), ttl_s=1.0)
    with ScriptedProvider([reply("Answered.")]) as provider:
        inside.use(provider)
        began = time.monotonic()
        done = inside.run("-c")
    assert (done.code, done.out) == (0, b"Answered.\n")
    assert f"Process {child.pid} had this session and is gone" in done.err
    assert time.monotonic() - began < 15


def test_a_parked_turn_is_said_to_be(inside: Inside) -> None:
    """C6: of a session of another program, whose tool waits for leave; what is asked now is refused until then."""

    def delete(path: str) -> str:
        return path

    async def park(store: SqliteStore) -> None:
        async with ScriptedProvider([reply(call("delete", path="x"))]) as provider, Runtime() as runtime:
            agent = Agent(
                "anthropic:m",
                base_url=provider.anthropic_url,
                api_key="x",
                tools=[delete],
                approvals=lambda _: Ask(),
                store=store,
                runtime=runtime,
            )
            async with agent.session() as session:
                await store.create(NewSession(id=session.id, folder=str(inside.folder)))
                assert (await session.run("Delete it.")).reason == "parked"

    inside.store(park)
    with ScriptedProvider([]) as provider:
        inside.use(provider)
        done = inside.run("-c")
        assert done.code == 0 and "is parked until this has come: delete (approval)." in done.err
        done = inside.run("-c", "and?")
        assert done.code == 1 and "parked" in done.err
    assert rows(inside)[0].status == "parked"


# --- a store that cannot be used --------------------------------------------------------------------------------------


def unusable(inside: Inside, how: str) -> None:
    if how == "a file":
        inside.home.write_text("")
    else:
        inside.home.mkdir()
        (inside.home / "turnwise.db").write_bytes(b"no database at all " * 100)


@pytest.mark.parametrize("how", ["a file", "damaged"])
def test_a_store_that_cannot_be_used(inside: Inside, how: str) -> None:
    """D5: nothing is sent, and nothing is thrown away; the error says how to be answered all the same."""
    unusable(inside, how)
    with ScriptedProvider([reply("a")]) as provider:
        inside.use(provider)
        for args in (("one",), ("-c", "one"), ("--session", "x", "one")):
            done = inside.run(*args)
            assert (done.code, done.out) == (1, b"")
            assert "--ephemeral" in done.err and "TURNWISE_HOME" in done.err and str(inside.home) in done.err
        listed = inside.run("sessions", "list", "--json")
        assert listed.code == 1 and listed.error["branch"] == "state"
        assert inside.run("--ephemeral", "one").out == b"a\n"


def test_two_at_once_in_one_folder(inside: Inside) -> None:
    """D4: each has a session of its own; neither is told that the file is locked."""

    async def both() -> list[Any]:
        async def one() -> tuple[int | None, bytes, bytes]:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "turnwise.frontends.cli",
                "hi",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await process.communicate()
            return process.returncode, out, err

        return await asyncio.gather(one(), one())

    with ScriptedProvider([reply("a"), reply("a")]) as provider:
        inside.use(provider)
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        try:
            ended = asyncio.run(both())
        finally:
            del os.environ["PYTHONPATH"]
    assert [(code, out) for code, out, _ in ended] == [(0, b"a\n")] * 2, ended
    assert len(rows(inside)) == 2
