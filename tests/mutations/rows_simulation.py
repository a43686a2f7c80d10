"""Bugs that the simulator must find by itself, within so many turns: see `simulated.py`, which plants them one by one.

A row names the invariants that may complain (`rules`); which of them does, and after how many turns, depends on the seed.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One bug: in words, the changes of text that make it, and the run that must find it."""

    what: str
    changes: tuple[tuple[str, str, str], ...]
    store: str = "memory"
    faults: str = "heavy"


BUGS = (
    Bug(
        "the assistant's message enters the transcript before its calls' outcomes are in",
        (
            (
                "core/evolve.py",
                "        turn.saying = message\n",
                "        turn.saying = message\n        say(state, message)\n",
            ),
        ),
    ),
    Bug(
        "the outcome of a cancelled call is dropped",
        (
            (
                "core/decide_rare.py",
                "[closed(c, why, now, lost=given.lost) for c in turn.awaited if c.result is None]",
                "[]",
            ),
        ),
    ),
    Bug(
        "CancelledError is swallowed where a consumer waits",
        (
            (
                "runtime/stream.py",
                "            await waiter\n        finally:\n",
                "            await waiter\n        except asyncio.CancelledError:\n            pass\n        finally:\n",
            ),
        ),
    ),
    Bug(
        "a late append is taken without a look at its fence, or at what was appended since",
        (
            (
                "store/memory/claims.py",
                "            if held != (claim.owner, claim.fence):\n",
                "            if held is None:\n",
            ),
            (
                "store/memory/store.py",
                "        if len(journal) != after:\n            raise append_conflict(row.id",
                "        if len(journal) < after:\n            raise append_conflict(row.id",
            ),
        ),
        "stored",
    ),
    Bug(
        "a watcher's cursor is off by one on resume",
        (("runtime/watch.py", "        if state.seq <= after:\n", "        if state.seq < after:\n"),),
    ),
    Bug(
        "what an attempt had said is told again on restart, as part of the next one",
        (
            (
                "runtime/attempt.py",
                "            return reducer.feed(decoder.feed(data)), None\n",
                "            said = reducer.feed(decoder.feed(data))\n            return said * min(2, self.asked.attempt), None\n",
            ),
        ),
    ),
    Bug(
        "deltas that a snapshot has in it are told once more",
        (("runtime/watch.py", "            mailbox.skip = turn.unread", "            mailbox.skip = 0"),),
    ),
    Bug(
        "the usage of a failed attempt is counted twice",
        (
            (
                "core/evolve.py",
                "    count(turn, state, entry.usage)\n    state.requests += 1\n",
                "    count(turn, state, entry.usage)\n    count(turn, state, entry.usage)\n    state.requests += 1\n",
            ),
        ),
    ),
    Bug(
        "the bounded queue of a watcher is not bounded",
        (
            (
                "runtime/mailbox.py",
                '            elif self.policy == "drop_to_cursor" or not self._squeeze_in(event):\n                self._drop(len(events) - at)\n                return\n',
                "            else:\n                self._items.append(event)\n                self.waiting += 1\n",
            ),
        ),
    ),
    Bug(
        "an attempt is made again though its half answer was shown",
        (("core/turn.py", '    if given.shown and policy.restart == "before_output":\n', "    if False:\n"),),
    ),
    Bug(
        "an approval goes to another call than the one it was given for",
        (
            (
                "core/decide_rare.py",
                "            said = ApprovalAnswered(given.call_id, True, now",
                "            said = ApprovalAnswered(turn.pending[-1].call_id, True, now",
            ),
        ),
    ),
    Bug(
        "a compaction cuts between a call and its result",
        (
            (
                "core/compaction_plan.py",
                "    return [at for at, message in enumerate(history) if not isinstance(message, ToolMessage)]\n",
                "    return list(range(len(history)))\n",
            ),
        ),
    ),
    Bug(
        "what is steered enters between calls and their results",
        (
            (
                "core/evolve.py",
                "    say(state, turn.saying, ToolMessage(results, turn.number, turn.step, at))\n",
                "    say(state, turn.saying, *turn.steers, ToolMessage(results, turn.number, turn.step, at))\n    turn.steers = []\n",
            ),
        ),
    ),
    Bug(
        "the timer of a turn's deadlines is not cancelled at its end",
        (
            (
                "runtime/overseen.py",
                "        if self._watch is not None:\n            self._session.runtime.timers.cancel(self._watch)\n            self._watch = None\n",
                "        self._watch = None\n",
            ),
        ),
    ),
    Bug(
        "a lease is never renewed by itself",
        (
            (
                "runtime/lease.py",
                "        if self._holders and not self._runtime.closed:\n            self._runtime.start(self._beat())\n",
                "        return\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "a call that is completed is run again on recovery",
        (
            (
                "core/turn.py",
                "            if c.result is not None or c.waits is not None or (c.started and not c.again):\n",
                "            if c.waits is not None or (c.started and not c.again and not turn.recovered):\n",
            ),
            (
                "runtime/actor.py",
                "                    if call is not None and call.result is None:",
                "                    if call is not None:",
            ),
        ),
        "stored",
    ),
    Bug(
        "a call is run before its beginning is durable",
        (
            (
                "runtime/job.py",
                "    durable = [job for job in admitted if job.begun_at is not None and job.begun_at <= told]\n",
                "    durable = list(admitted)\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "closing a session ends its watchers before they have the turn's last word",
        (
            (
                "runtime/watch.py",
                "        if self._turn is not None and self._turn.over:\n            self._flush()\n",
                "",
            ),
        ),
    ),
    Bug(
        "a provider's silence is measured by another sum than the timer is set for",
        (("runtime/attempt.py", "now >= since + patience", "now - since >= patience"),),
    ),
    Bug(
        "a tool begins though the session was taken over while its process stood still",
        (
            (
                "runtime/calls.py",
                "            if (claims := self._session.claims) is not None and not await claims.ensure():\n                raise asyncio.CancelledError",
                "            if False:\n                raise asyncio.CancelledError",
            ),
        ),
        "stored",
    ),
    Bug(
        "reasoning of one provider is sent to another",
        (
            (
                "wire/gemini/messages.py",
                "    if block.origin != dialect.origin or not (block.text.strip() or block.signature):\n",
                "    if not (block.text.strip() or block.signature):\n",
            ),
        ),
    ),
    Bug(
        "what is folded while the last append of a turn is under way is told to the turn",
        (
            (
                "runtime/actor.py",
                "        if turn is not None and effects and type(effects[-1]) in LAST:\n",
                "        if False:\n",
            ),
        ),
        "stored",
    ),
)
