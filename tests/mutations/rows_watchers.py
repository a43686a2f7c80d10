"""Planted bugs: channels, watchers and steps (C2, C4, D6). See `table.py`."""

from __future__ import annotations

from row import R, Row

ROWS = [
    Row(
        "C2",
        "a channel that is dropped does not stop its turn",
        "runtime/channel.py",
        '    if on_drop == "stop" and (running',
        '    if on_drop == "never" and (running',
        (f"{R}test_channel.py::test_dropping_stops_the_turn[anthropic-streamed-memory-collected]",),
    ),
    Row(
        "C4",
        "the pump reads on while a channel is full",
        "runtime/watch.py",
        "and own.waiting >= own.size:\n            return False",
        "and own.waiting >= own.size:\n            pass",
        (f"{R}test_channel.py::test_a_reader_that_stops_stops_the_provider[anthropic-1]",),
    ),
    Row(
        "C4",
        "a reader that makes room does not wake the pump",
        "runtime/watch.py",
        'if mailbox.policy == "block" and mailbox.waiting == mailbox.size - 1:',
        'if mailbox.policy == "block" and mailbox.waiting == mailbox.size + 1:',
        (f"{R}test_channel.py::test_a_slow_reader_loses_nothing[anthropic-32]",),
    ),
    Row(
        "C4",
        "a coalescing watcher that cannot coalesce grows without bound",
        "runtime/mailbox.py",
        '            elif self.policy == "drop_to_cursor" or not self._squeeze_in(event):\n                self._drop(len(events) - at)\n                return\n',
        '            elif self.policy == "drop_to_cursor":\n                self._drop(len(events) - at)\n                return\n            elif not self._squeeze_in(event):\n                self._items.append(event)\n                self.waiting += 1\n',
        (f"{R}test_watch.py::test_a_dead_watcher_needs_no_memory",),
    ),
    Row(
        "C4",
        "a watcher that is behind when the journal fails never hears of the end",
        "runtime/watch.py",
        "                mailbox.last_word = last\n",
        "                pass\n",
        (f"{R}test_watch.py::test_a_store_that_fails_still_ends_every_watcher[anthropic-drop_to_cursor]",),
    ),
    Row(
        "D6",
        "who joins in mid-step gets no snapshot",
        "runtime/watch.py",
        "            if snapshot is not None:\n",
        "            if snapshot is not None and not snapshot.content:\n",
        (f"{R}test_watch.py::test_joining_in_mid_step_brings_a_snapshot[anthropic]",),
    ),
    Row(
        "D6",
        "what was told but not yet offered comes again behind the snapshot",
        "runtime/watch.py",
        "            mailbox.skip = turn.unread",
        "            mailbox.skip = 0",
        (f"{R}test_watch.py::test_joining_at_any_event",),
    ),
    Row(
        "D6",
        "a watcher goes live while an append is under way",
        "runtime/watch.py",
        "        if session.settled and not session.owes and mailbox.cursor >= session.told:\n",
        "        if not session.owes and mailbox.cursor >= session.told:\n",
        (f"{R}test_watch.py::test_joining_while_a_step_is_being_written[anthropic]",),
    ),
    Row(
        "D6",
        "the cursor is ahead of what was told",
        "runtime/watch.py",
        "            position += count\n            self._marks.append((position, seq))\n",
        "            self._marks.append((position, seq))\n            position += count\n",
        (f"{R}test_watch.py::test_reconnecting_with_a_cursor",),
    ),
    Row(
        "C3",
        "a consumer that is cancelled while a watcher joins leaves nobody reading",
        "runtime/turn.py",
        "            if self.hub is not hub and self.hub is not None:  # a watcher has joined meanwhile\n                self.hub.pump(self)\n        if self.hub",
        "            pass\n        if self.hub",
        (f"{R}test_watch.py::test_a_consumer_in_mid_wait_hands_over[anthropic]",),
    ),
    Row(
        "C3",
        "the next step begins although its caller did not get the last one",
        "runtime/steps.py",
        "            elif self._untold():\n",
        "            elif self._untold() and False:\n",
        (f"{R}test_steps.py::test_each_round_is_one_step[anthropic-streamed-memory]",),
    ),
    Row(
        "T3",
        "what is injected between steps enters after the next answer",
        "core/evolve_rare.py",
        'if entry.at_once and running(state).phase == "model":',
        "if False:",
        (f"{R}test_steps.py::test_what_is_injected_enters_before_the_next_call[anthropic-memory]",),
    ),
    Row(
        "D6",
        "a watcher reads in the journal what the session has not read yet, and is told it again then",
        "runtime/watch.py",
        "entries[: hub.session.told - folded.seq]",
        "entries",
        (
            "tests/runtime/test_watch_elsewhere.py::"
            "test_a_watcher_that_reads_the_journal_is_not_told_again_what_the_session_reads_on",
        ),
    ),
]
