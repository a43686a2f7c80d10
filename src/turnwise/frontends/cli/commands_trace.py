"""`turnwise trace`: the command and its options, as click reads them."""

from __future__ import annotations

import click

from .kinds import WORDS


@click.command()
@click.argument("session", type=WORDS, required=False, metavar="[SESSION[/TURN]]")
@click.option("--json", "as_json", is_flag=True, help="Print the tree as one JSON object.")
def trace(session: str | None, as_json: bool) -> int:
    """What a session's turns did and took.

    A tree of turns, steps, attempts and calls, with times, tokens, cost and cache hits. A SESSION is its name, its id, or the beginning of its id; TURN the number of a turn. Without one, the last session of this folder
    is meant. Everything is read from the journal: nothing has to be set up before.
    """
    from .trace import trace_session

    return trace_session(session, as_json)
