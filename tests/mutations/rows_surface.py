"""Planted bugs: steering, follow-ups, taking back, forking, settings, and code that does not await (T, C, D, E, H, I). See `table.py`."""

from __future__ import annotations

from row import R, Row

STEERING, HISTORY, SETTINGS = f"{R}test_steering.py::", f"{R}test_history_ops.py::", f"{R}test_settings.py::"
STATUS, SYNC = f"{R}test_status.py::", f"{R}test_sync_session.py::"

ROWS = [
    Row(
        "E1",
        "a skipped call that waits for its resource is started before the journal has the skip",
        "runtime/actor.py",
        "                    self._turn.calls.forget(effect.call_ids)\n",
        "                    pass\n",
        (f"{STEERING}test_skipping_while_the_step_is_being_journalled",),
    ),
    Row(
        "T3",
        "a follow-up begins after a turn that was interrupted",
        "runtime/follow_ups.py",
        'frozenset(("completed", "stopped", "limit", "loop"))',
        'frozenset(("completed", "stopped", "limit", "loop", "interrupted"))',
        (f"{STEERING}test_the_queue_waits_when_a_turn_ends_badly[interrupted]",),
    ),
    Row(
        "T3",
        "a follow-up that was taken out begins all the same, in place of the next one",
        "runtime/follow_ups.py",
        "if not state.queue or state.queue[0].number != self.number:",
        "if not state.queue:",
        (f"{STEERING}test_a_follow_up_is_taken_out_as_it_is_about_to_begin",),
    ),
    Row(
        "C1",
        "an interrupt that comes before the input is journalled is lost",
        "runtime/actor.py",
        "            self.post(turn.stop_asked)\n",
        "            pass\n",
        (f"{STEERING}test_interrupting_a_turn_that_is_about_to_begin[anthropic]",),
    ),
    Row(
        "C1",
        "closing does not stop a turn that is about to begin",
        "runtime/actor.py",
        "            await self._settle(plan.deadlines.grace_s)\n            self._refuse_if_gone()\n",
        "            await self._settle(plan.deadlines.grace_s)\n",
        (f"{STEERING}test_closing_while_a_turn_is_about_to_begin[anthropic]",),
    ),
    Row(
        "C1",
        "the end of an interrupted parked turn, written late, ends the next turn",
        "runtime/actor.py",
        "        while self._lost is None and (appending := self._appending) is not None:\n",
        "        while False and (appending := self._appending) is not None:\n",
        (f"{HISTORY}test_interrupting_a_parked_turn[anthropic-suspending-partial]",),
    ),
    Row(
        "T4",
        "what is taken back gives its number to the next turn",
        "core/evolve_rare.py",
        "    del state.history[kept:], state.views[shown:]\n",
        "    del state.history[kept:], state.views[shown:]\n    state.turns = to\n",
        (f"{HISTORY}test_taking_back[anthropic-streamed-memory]",),
    ),
    Row(
        "T7",
        "a fork sends the history that the original has compacted",
        "runtime/history_ops.py",
        "for view in state.views[:shown]])",
        "for view in state.views[:0]])",
        (f"{HISTORY}test_a_fork_sees_what_the_original_saw",),
    ),
    Row(
        "T3",
        "undo reaches behind a clearing",
        "runtime/history_ops.py",
        "cleared = max([v.change.covers for v in state.views if v.cleared], default=0)",
        "cleared = 0",
        (f"{HISTORY}test_clearing[anthropic-streamed-memory]",),
    ),
    Row(
        "T3",
        "going on after the model's last word sends it as the last one",
        "core/decide_rare.py",
        "if isinstance(last, AssistantMessage) else None",
        "if False else None",
        (f"{HISTORY}test_going_on_from_the_model[anthropic-streamed]",),
    ),
    Row(
        "E1",
        "nothing is said of the tools that ran in a turn that is taken back",
        "core/narrate.py",
        'or turn.keep != "none" or not turn.changed:',
        "or True:",
        (f"{STEERING}test_taking_a_turn_out[anthropic-streamed-memory]",),
    ),
    Row(
        "H5",
        "settings are journalled before they are checked against the provider",
        "runtime/surface.py",
        "            self.agent.plan(Wishes(watched=False, overrides=overrides), self.runtime)\n",
        "",
        (f"{SETTINGS}test_what_cannot_hold_is_refused[given12-invalid_setting]",),
    ),
    Row(
        "T5",
        "a change of settings waits for the next turn",
        "runtime/turn.py",
        "if session.overrides is not self.wishes.overrides and not self.replan():",
        "if False:",
        (f"{SETTINGS}test_in_a_running_turn_at_the_next_step[anthropic-streamed-memory]",),
    ),
    Row(
        "D1",
        "settings whose entry was lost stay in force",
        "runtime/journalled.py",
        "        self.overrides = overrides_of(self.agent, self.state.settings, self.overrides)\n",
        "",
        (f"{SETTINGS}test_settings_are_entries",),
    ),
    Row(
        "I2",
        "waiting on the loop that would do the work",
        "runtime/facade.py",
        "    if process.in_loop(loop):\n        raise",
        "    if False:\n        raise",
        (f"{SYNC}test_on_its_own_loop_it_refuses_at_once",),
    ),
    Row(
        "I2",
        "another loop folds into the state of a session that lives elsewhere",
        "runtime/home.py",
        "    if home is None or process.in_loop(home):\n",
        "    if True:\n",
        (f"{SYNC}test_from_another_loop[anthropic]",),
    ),
]
