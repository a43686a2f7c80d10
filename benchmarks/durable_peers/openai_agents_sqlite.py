"""openai_agents.py of the suite with its `SQLiteSession` in a file: the SDK keeps and reads the history."""

import tempfile
import uuid

from agents import Runner, SQLiteSession

from . import openai_agents as plain

VENV, PACKAGES = plain.VENV, plain.PACKAGES
_folders = {}


def setup(base_url, model):
    agent = plain.setup(base_url, model)
    _folders[id(agent)] = tempfile.TemporaryDirectory(prefix="openai-agents-")
    return agent


class Session:
    def __init__(self, agent):
        self.agent = agent
        self.kept = SQLiteSession(str(uuid.uuid4()), f"{_folders[id(agent)].name}/sessions.db")

    def __del__(self):
        self.kept.close()


async def make_session(agent, history):
    session = Session(agent)
    if history:
        await session.kept.add_items([{"role": r, "content": t} for r, t in history])
    return session


async def run_turn(session, prompt):
    text = []
    result = Runner.run_streamed(session.agent, prompt, session=session.kept, max_turns=50)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text.append(event.data.delta)  # noqa: PERF401 -- as a consumer would
    return len(text), "".join(text)


run_tools = run_turn


async def close(agent):
    _folders.pop(id(agent)).cleanup()
