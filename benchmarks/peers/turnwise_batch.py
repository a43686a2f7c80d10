"""Turnwise as in turnwise.py, read through the batch iterator."""

from turnwise.events import TextDelta

from .turnwise import PACKAGES, close, make_session, setup

__all__ = ["PACKAGES", "close", "make_session", "run_tools", "run_turn", "setup"]


async def run_turn(session, prompt):
    deltas = 0
    async with session.stream(prompt) as turn:
        async for events in turn.batches():
            for event in events:
                if type(event) is TextDelta:
                    deltas += 1
    return deltas, turn.result.text


run_tools = run_turn
