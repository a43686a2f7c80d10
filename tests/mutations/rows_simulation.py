"""Bugs that the simulator must find by itself, within so many turns: see `simulated.py`, which plants them one by one.

Which invariant complains, and after how many turns, depends on the seed. The rows behind "found once" take back what mended a bug that the
simulator found; what it finds is kept as a plan in `tests/simulation/found`, by name.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One bug: a short name, in words, the changes of text that make it, and the run that must find it within 20,000 turns; or does not, if it
    is `rare`: that one was met once in a longer run, and is hunted only if it is named."""

    name: str
    what: str
    changes: tuple[tuple[str, str, str], ...]
    store: str = "memory"
    faults: str = "heavy"
    rare: bool = False


BUGS = (
    Bug(
        "early_message",
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
        "dropped_outcome",
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
        "swallowed_cancel",
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
        "unfenced_append",
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
        "cursor_off_by_one",
        "a watcher's cursor is off by one on resume",
        (("runtime/watch.py", "        if state.seq <= after:\n", "        if state.seq < after:\n"),),
    ),
    Bug(
        "told_again",
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
        "doubled_deltas",
        "deltas that a snapshot has in it are told once more",
        (("runtime/watch.py", "            mailbox.skip = turn.unread", "            mailbox.skip = 0"),),
    ),
    Bug(
        "doubled_usage",
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
        "unbounded_queue",
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
        "tried_again_though_shown",
        "an attempt is made again though its half answer was shown",
        (("core/turn.py", '    if given.shown and policy.restart == "before_output":\n', "    if False:\n"),),
    ),
    Bug(
        "wrong_approval",
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
        "cut_between_call_and_result",
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
        "early_steer",
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
        "left_timer",
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
        "lease_not_renewed",
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
        "run_again",
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
        "not_durable_yet",
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
        "closed_before_last_word",
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
        "two_sums_for_silence",
        "a provider's silence is measured by another sum than the timer is set for",
        (("runtime/attempt.py", "now >= since + patience", "now - since >= patience"),),
    ),
    Bug(
        "began_when_taken_over",
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
        "foreign_reasoning",
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
        "told_behind_last_word",
        "what is folded while the last append of a turn is under way is told to the turn",
        (
            (
                "runtime/actor.py",
                "        ends = turn is not None and effects and type(effects[-1]) in LAST\n",
                "        ends = False\n",
            ),
        ),
        "stored",
    ),
    # --- found once -------------------------------------------------------------------------------------------------
    Bug(
        "two_beginnings_one_waiter",
        "the beginnings of a turn and of its follow-up wait in one place",
        (
            (
                "runtime/claims.py",
                "            appending.add_done_callback(lambda _: _wake(waiter))\n",
                "            appending.add_done_callback(lambda _: [_wake(one) for one in self._waiters[-1:]])\n",
            ),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "stopped_in_mid_step",
        "stopping between steps leaves the model call that is under way",
        (
            (
                "runtime/steps.py",
                "        if self._held is not None:  # else a model call or its tools are under way, and are not left behind\n",
                "        if True:\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "dropped_midway",
        "a watcher that is dropped between two events of one entry gets the first of them twice",
        (("runtime/mailbox.py", "        if self._midway:\n", "        if False:\n"),),
    ),
    Bug(
        "closed_by_reading",
        "a turn that is closed when its journal is read again is told to nobody who is live by then",
        (
            (
                "runtime/journalled.py",
                "        return self._created is None and bool(self._entries)\n",
                "        return False\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "begun_behind_an_append",
        "a turn begins behind an append of somebody else, and is told of it",
        (
            (
                "runtime/actor.py",
                "        if self._appending is not None or self._lost is not None:  # something was folded meanwhile\n",
                "        if False:\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "two_sums_for_idleness",
        "how long a session was idle is measured by another sum than the timer is set for",
        (
            (
                "runtime/shelf.py",
                "lambda held: held.used_at + idle_s <= now)",
                "lambda held: held.used_at <= now - idle_s)",
            ),
            (
                "runtime/shelf.py",
                "            if held.used_at + idle_s > now:\n",
                "            if held.used_at > now - idle_s:\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "look_after_the_end",
        "a look at the clock is set for a turn that is over",
        (
            (
                "runtime/overseen.py",
                "        if self._watch is not None or self._result is not None:\n",
                "        if self._watch is not None:\n",
            ),
        ),
    ),
    Bug(
        "two_readers",
        "who joins a turn whose reading was just stopped has it read beside its consumer",
        (
            (
                "runtime/stream.py",
                "        return self._in_read or self._waiter is not None\n",
                "        return (self._in_read and self._attempt is not None) or self._waiter is not None\n",
            ),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "skipped_while_parked",
        "what is steered into a parked turn that is about to be resumed skips calls of a turn without a plan",
        (
            (
                "runtime/actor.py",
                "                if self._turn is not None and self._turn.opened:\n                    self._turn.calls.forget",
                "                if self._turn is not None:\n                    self._turn.calls.forget",
            ),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "sure_by_a_late_renewal",
        "a lease that was renewed late makes claims sure that nobody has asked for since",
        (
            (
                "runtime/claims.py",
                "        return self._lapses == lease.lapses and lease.sure\n",
                "        return lease.sure\n",
            ),
        ),
        "stored",
    ),
    Bug(
        "waits_for_a_lost_append",
        "who reads on in a journal waits for an append that was lost",
        (
            (
                "runtime/actor.py",
                "        if self._lost is not None and self.hub is not None:\n            self.hub.look_again()\n",
                "",
            ),
        ),
        "stored",
    ),
    Bug(
        "owed_by_the_closed",
        "a watcher waits for what a closed session owes",
        (("runtime/watch.py", "(hub.session.owes and not hub.closed)", "hub.session.owes"),),
        "stored",
    ),
    Bug(
        "never_began",
        "found once: a call whose beginning came to nothing, since the turn was being stopped, runs",
        (
            (
                "runtime/job.py",
                '    if state.turn is None or state.turn.phase == "ending":\n',
                "    if False:\n",
            ),
        ),
        rare=True,
    ),
    Bug(
        "reader_left_waiting",
        "found once: who reads a turn that was interrupted while a hook saw its answer waits for ever",
        (
            (
                "runtime/hooks/run.py",
                "            if not self._under_way and self._turn is not None and self._turn.closing:\n",
                "            if False:\n",
            ),
        ),
    ),
    Bug(
        "lost_follow_up",
        "found once: a follow-up of a session that was taken over is waited for for ever",
        (
            ("runtime/actor.py", "        follow_ups.lost(self, error)\n", ""),
            ("runtime/journalled.py", "        if self.follow_up_handles:\n", "        if False:\n"),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "textless",
        "found once: a watcher here does not get the text of a turn elsewhere",
        (
            (
                "runtime/stored.py",
                "            told = told_again(entry, self.state)\n",
                "            from ..core.narrate import narrate\n\n            told = narrate(entry, self.state)\n",
            ),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "numbered_twice",
        "found once: a follow-up that got another number is known by its first one, too",
        (
            (
                "runtime/follow_ups.py",
                "        session.follow_up_handles.pop(handle.number, None)  # it had",
                "        # it had",
            ),
        ),
        "stored",
        rare=True,
    ),
    Bug(
        "admitted_unopened",
        "found once: a call is admitted to a turn that has not begun here yet",
        (("runtime/actor.py", "turn is not None and turn.opened and current", "turn is not None and current"),),
        "sqlite",
        rare=True,
    ),
    Bug(
        "held_back_by_middleware",
        "found once: a body that middleware held back begins though the session was taken over meanwhile",
        (("runtime/middleware/tools.py", "        await bodies.still_ours()\n", ""),),
        "sqlite",
        rare=True,
    ),
    Bug(
        "admitted_before_reading",
        "found once: a call that was admitted before the journal was read again runs, though it has ended since",
        (("runtime/actor.py", "        turn.forget_calls()\n", ""),),
        "stored",
    ),
    Bug(
        "asked_behind_middleware",
        "found once: hooks are asked about a turn that was stopped on its way from its middleware to them",
        (("runtime/hooks/at_turn.py", "        run.cut()  # it was stopped", "        pass  # it was stopped"),),
        "memory",
        rare=True,
    ),
    Bug(
        "in_a_thread_after_the_end",
        "found once: a hook that waits for its thread when its chain is cut is called when all is over",
        (("runtime/hooks/run.py", "            waiting.cancel()  # a function", "            pass  # a function"),),
        "memory",
        rare=True,
    ),
    Bug(
        "read_and_told",
        "found once: what a watcher has read in the journal before the session has is told to it again",
        (("runtime/watch.py", "entries[: hub.session.told - folded.seq]", "entries"),),
        "sqlite",
        rare=True,
    ),
)
