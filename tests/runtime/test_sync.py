"""The synchronous door, Ctrl-C, forks, loops that come and go, and what is left behind by none of them (rules I1 to I3)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conftest import LIMIT_S
from tests.runtime.conftest import Host, assert_valid, results, until

from turnwise import Runtime, tool
from turnwise.core.outcomes import Failed
from turnwise.errors import ConfigError, ProviderError
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, fail, repeat, reply

PREAMBLE = """
import asyncio, gc, os, signal, sys, threading, warnings
from turnwise import Agent, Runtime, tool
from turnwise.errors import *
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal: a shell's background jobs inherit that it is ignored

def agent_of(provider, *tools, **options):
    return Agent("anthropic:a-model", base_url=provider.anthropic_url, api_key="test", tools=tools, **options)
"""


def in_process(body: str) -> str:
    """Run a program in a fresh interpreter that treats warnings as errors; what it printed. It must say nothing on stderr."""
    program = PREAMBLE + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=2 * LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


# --- run_sync (I2) -----------------------------------------------------------------------------------------------------


def test_from_plain_code(any_host: Host) -> None:
    with ScriptedProvider([reply("One."), reply("Two."), reply("Three.")]) as provider:
        agent = any_host.agent(provider)
        assert agent.run_sync("Hi").text == "One."
        session = agent.session()
        assert session.run_sync("Hi").text == "Two."
        assert session.run_sync("Go on").text == "Three."
        assert len(session.messages) == 4
        assert_valid(session.messages)


def test_errors_come_through(host: Host) -> None:
    with ScriptedProvider([fail(400, "no")]) as provider:
        with pytest.raises(ProviderError) as raised:
            host.agent(provider).run_sync("Hi")
        assert raised.value.result is not None
        with pytest.raises(ConfigError):
            host.agent(provider).run_sync("")


def test_from_many_threads_at_once(host: Host) -> None:
    met = threading.Barrier(8, timeout=20)

    @tool
    def meet() -> str:
        met.wait()
        return "met"

    def answer(request: RecordedRequest) -> Reply:
        return reply("All here.") if b"met" in request.raw[request.raw.rindex(b"role") :] else reply(call("meet"))

    with ScriptedProvider([repeat(answer)]) as provider:
        agent = host.agent(provider, meet)
        with ThreadPoolExecutor(8) as pool:
            assert [r.text for r in pool.map(agent.run_sync, ["Hi"] * 8)] == ["All here."] * 8


def test_inside_a_running_loop(host: Host) -> None:
    """As in a notebook: the caller's loop is not touched, and goes on afterwards."""

    async def cell() -> str:
        said = host.agent(provider).run_sync("Hi").text
        await asyncio.sleep(0)
        return said

    with ScriptedProvider([reply("Hello.")]) as provider:
        assert asyncio.run(cell()) == "Hello."


def test_on_its_own_loop_it_refuses(host: Host) -> None:
    """Waiting for the loop on the loop's own thread would never end: a typed error says what to do instead."""

    @tool
    async def nested() -> str:
        return agent.run_sync("Hi").text

    with ScriptedProvider([reply(call("nested")), reply("So.")]) as provider:
        agent = host.agent(provider, nested)
        result = agent.run_sync("Hi")
        (got,) = results(result)
        assert type(got.outcome) is Failed and got.outcome.error.code == "sync_in_loop"
        assert "await agent.run" in got.outcome.error.hint


def test_from_a_tool_in_a_thread_it_works(host: Host) -> None:
    @tool
    def nested() -> str:
        return inner.run_sync("Hi").text

    with ScriptedProvider([reply(call("nested")), reply("From within."), reply("So.")]) as provider:
        inner = host.agent(provider)
        result = host.agent(provider, nested).run_sync("Hi")
        assert [r.text for r in results(result)] == ["From within."]


# --- Ctrl-C (I2) -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["model", "tool"])
def test_ctrl_c_interrupts_waits_and_is_raised_again(phase: str) -> None:
    said = in_process(f"""
        stopped = []

        @tool
        async def wait() -> str:
            threading.Thread(target=ctrl_c).start()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append("yes")

        def ctrl_c():
            if {phase!r} == "model":
                provider.wait("stalled")
            os.kill(os.getpid(), signal.SIGINT)

        first = hang() if {phase!r} == "model" else reply(call("wait"))
        with ScriptedProvider([first, reply("Here we are.")]) as provider:
            session = agent_of(provider, wait).session()
            if {phase!r} == "model":
                threading.Thread(target=ctrl_c).start()
            try:
                session.run_sync("Hi")
            except KeyboardInterrupt:
                print("interrupted", session.running, stopped)
            print(session.run_sync("Go on").text, len(session.messages))
    """)
    stopped, messages = ("[]", 3) if phase == "model" else ("['yes']", 5)
    assert said.splitlines() == [f"interrupted False {stopped}", f"Here we are. {messages}"]


def test_ctrl_c_in_asyncio_run() -> None:
    """The loop's own way (it cancels the main task) ends the turn as cleanly."""
    said = in_process("""
        async def main():
            threading.Thread(target=ctrl_c).start()
            await session.run("Hi")

        def ctrl_c():
            provider.wait("stalled")
            os.kill(os.getpid(), signal.SIGINT)

        with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
            session = agent_of(provider).session()
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted", session.running)
            print(asyncio.run(session.run("Go on")).text)
    """)
    assert said.splitlines() == ["interrupted False", "Here we are."]


# --- loops and processes that come and go (I2, I3) ----------------------------------------------------------------------


def test_asyncio_run_again_and_again() -> None:
    """The default runtime of each loop is closed with it: no warning, no "event loop is closed"."""
    said = in_process("""
        @tool
        def look() -> str:
            return "x"

        with ScriptedProvider([repeat(lambda r: reply("Hi.") if len(r.body["messages"]) > 1 else reply(call("look")))]) as p:
            agent = agent_of(p, look)
            for _ in range(3):
                print(asyncio.run(agent.run("Hi")).text)
            session = agent.session()
            for _ in range(2):
                print(asyncio.run(session.run("Hi")).text)
            print(agent.run_sync("Hi").text)
            gc.collect()
            print(sum(isinstance(o, Runtime) and not o.closed for o in gc.get_objects()))
            print(sum(isinstance(o, Runtime) for o in gc.get_objects()) < 4)
    """)
    # Open is only the one of run_sync's own loop; closed ones are gone, but for that of the session that is still held.
    assert said.split() == [*["Hi."] * 6, "1", "True"]


def test_leaving_the_program_in_mid_turn() -> None:
    """A program that ends while its loop still streams ends without a word."""
    said = in_process("""
        async def main():
            turn = agent_of(provider).session().stream("Hi")
            await turn.__aenter__()
            print(type(await anext(turn)).__name__)
            await provider.reached("stalled")

        with ScriptedProvider([hang()]) as provider:
            asyncio.run(main())
    """)
    assert said == "TurnStarted"


def test_after_a_fork() -> None:
    """I2: the child's inherited sessions refuse; new ones work, through a loop of its own; the parent goes on."""
    said = in_process(
        """
        with ScriptedProvider([reply("Parent."), reply("Child."), reply("Parent again.")]) as provider:
            agent = agent_of(provider)
            session = agent.session()
            print(session.run_sync("Hi").text, flush=True)
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                try:
                    session.run_sync("Hi")
                except SessionForked as error:
                    print(error.code, flush=True)
                try:
                    print(agent.run_sync("Hi").text, flush=True)
                finally:
                    os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            print(session.run_sync("Go on").text)
        """
    )
    assert said.splitlines() == ["Parent.", "session_forked", "Child.", "Parent again."]


async def test_an_explicit_runtime_closes_everything(any_host: Host) -> None:
    """I3: connections, threads and tasks end with it; closing twice is closing once."""
    before = threading.active_count()

    @tool
    def look() -> str:
        return threading.current_thread().name

    script = [reply(call("look")), reply("Hi.", stall_before_headers=True), reply("And idle.")]
    async with ScriptedProvider(script) as provider:
        async with Runtime() as runtime:
            agent = any_host.agent(provider, look, runtime=runtime)
            running = asyncio.create_task(agent.session().run("Hi"))
            await provider.reached("stalled", 2)
            assert (await agent.session().run("Hi")).text == "And idle."  # a connection that nobody uses now
            assert threading.active_count() > before
        assert (await running).reason == "interrupted"
        await until(lambda: threading.active_count() == before)
        assert runtime.closed and not runtime.abandoned_bodies
        await runtime.close()
        assert threading.active_count() == before


# --- imports (I1) ------------------------------------------------------------------------------------------------------


def test_import_loads_no_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import turnwise, sys; print(*sorted(sys.modules))"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    unwanted = {"asyncio", "aiohttp", "anthropic", "openai", "pydantic", "click", "rich", "msgspec", "turnwise.runtime"}
    assert not loaded & unwanted


def test_an_agent_loads_no_client() -> None:
    """Making an agent with tools costs no HTTP client and no provider's SDK."""
    program = """
import sys
from turnwise import Agent, tool
@tool
def look(what: str) -> str:
    "Look."
    return what
Agent("anthropic:a-model", tools=[look])
print(*sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & {"aiohttp", "anthropic", "openai", "pydantic", "click", "rich"}
