"""The hand-written loop of floor_aiohttp with DBOS around it: a turn is a workflow, a model response and each tool call a step. Deltas are counted
within the step, as the loop does; what a step returns is what DBOS keeps."""

import asyncio
import logging

from dbos import DBOS

from ._common import TOOL_SCHEMA
from ._floor_loop import _events, _one_call, encode, make_session
from .floor_aiohttp import Agent

_agent = None


@DBOS.step()
async def ask(messages):
    """One response: number of deltas, text, calls."""
    body = encode(
        {
            "model": _agent.model,
            "messages": messages,
            "tools": [TOOL_SCHEMA],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    n, text, calls = 0, [], {}
    async with _agent.post(body) as resp:
        async for chunk in _events(_agent.chunks(resp)):
            for choice in chunk.choices:
                if choice.delta.content:
                    text.append(choice.delta.content)
                    n += 1
                for call in choice.delta.tool_calls or ():
                    if call.id:
                        calls[call.index] = [call.id, call.function.name, []]
                    calls[call.index][2].append(call.function.arguments)
    made = [
        {"id": i, "type": "function", "function": {"name": f, "arguments": "".join(a)}} for i, f, a in calls.values()
    ]
    return n, "".join(text), made


@DBOS.step()
async def call_tool(call):
    return await _one_call(call)


@DBOS.workflow()
async def turn(messages):
    """What is added to the messages, and the number of deltas."""
    n, added = 0, []
    while True:
        deltas, text, calls = await ask(messages + added)
        n += deltas
        if not calls:
            added.append({"role": "assistant", "content": text})
            return n, text, added
        added.append({"role": "assistant", "content": text or None, "tool_calls": calls})
        added += await asyncio.gather(*map(call_tool, calls))


def setup_at(database_url, base_url, model):
    global _agent  # noqa: PLW0603 -- DBOS is one per process, too
    logging.disable(logging.WARNING)
    DBOS(config={"name": "bench", "system_database_url": database_url, "log_level": "ERROR"})
    DBOS.launch()
    _agent = Agent(base_url, model)
    return _agent


async def run_turn(session, prompt):
    session.messages.append({"role": "user", "content": prompt})
    n, text, added = await turn(session.messages)
    session.messages += added
    return n, text


async def close(agent):
    await agent.aclose()
    await asyncio.to_thread(DBOS.destroy)


__all__ = ["close", "make_session", "run_turn", "setup_at"]
