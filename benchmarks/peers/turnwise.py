"""Turnwise by its public quickstart path, with default limits, deadlines and store; single events."""

from adapters import _common

from turnwise import Agent, AssistantMessage, UserMessage, tool
from turnwise.events import TextDelta

PACKAGES = ["turnwise", "aiohttp", "msgspec"]


@tool
async def add(a: int, b: int) -> int:
    """Add two integers."""
    return await _common.add_impl(a, b)


def setup(base_url, model):
    return Agent(f"openai:{model}", base_url=base_url, api_key="x", instructions=_common.SYSTEM, tools=[add])


async def make_session(agent, history):
    return agent.session(history=[UserMessage(t) if role == "user" else AssistantMessage(t) for role, t in history])


async def run_turn(session, prompt):
    deltas = 0
    async with session.stream(prompt) as turn:
        async for event in turn:
            if type(event) is TextDelta:
                deltas += 1
    return deltas, turn.result.text


run_tools = run_turn


async def close(agent):
    """The default runtime is closed with its event loop."""
