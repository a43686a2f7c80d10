"""A LangGraph agent with a checkpointer: the graph keeps the history, a session is a thread id."""

import tempfile
import uuid
from contextlib import AsyncExitStack

from langchain.agents import create_agent
from langchain.messages import AIMessage, HumanMessage
from langchain.tools import tool
from langchain_openai import ChatOpenAI

from ._common import SYSTEM, add_impl


class Agent:
    def __init__(self, saver, llm, tools):
        self.saver, self.llm, self.tools, self.graph, self.open = saver, llm, tools, None, AsyncExitStack()

    async def ready(self):
        if self.graph is None:
            saver = await self.open.enter_async_context(self.saver())
            await saver.setup()
            self.graph = create_agent(self.llm, self.tools, system_prompt=SYSTEM, checkpointer=saver)
        return self.graph


class Session:
    def __init__(self, graph):
        self.graph, self.config = graph, {"configurable": {"thread_id": str(uuid.uuid4())}}


def folder():
    made = tempfile.TemporaryDirectory(prefix="langgraph-")
    _folders.append(made)
    return made.name


_folders = []


def setup_with(saver, base_url, model):
    @tool
    async def add(a: int, b: int) -> int:
        """Add two integers."""
        return await add_impl(a, b)

    llm = ChatOpenAI(
        model=model, base_url=base_url, api_key="x", streaming=True, stream_usage=True, use_responses_api=False
    )
    return Agent(saver, llm, [add])


async def make_session(agent, history):
    session = Session(await agent.ready())
    if history:
        messages = [HumanMessage(t) if r == "user" else AIMessage(t) for r, t in history]
        await session.graph.aupdate_state(session.config, {"messages": messages})
    return session


async def run_turn(session, prompt):
    text = []
    given = {"messages": [HumanMessage(prompt)]}
    async for mode, event in session.graph.astream(given, session.config, stream_mode=["messages", "values"]):
        if mode == "messages" and event[0].type == "AIMessageChunk" and event[0].content:
            text.append(event[0].content)
    return len(text), "".join(text)


async def close(agent):
    await agent.open.aclose()
    while _folders:
        _folders.pop().cleanup()
