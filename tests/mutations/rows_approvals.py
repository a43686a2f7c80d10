"""Planted bugs: calls that wait for somebody (C6, P1). See `table.py`."""

from __future__ import annotations

from row import R, Row

ASKED, ANSWERED = f"{R}test_approvals.py::", f"{R}test_answers.py::"

ROWS = [
    Row(
        "P1",
        "a policy that fails allows the call",
        "runtime/door.py",
        'UNCHECKED = Deny("it could not be checked whether it is allowed")',
        "UNCHECKED = Allow()",
        (f"{ASKED}test_whatever_goes_wrong_means_no",),
    ),
    Row(
        "P1",
        "whatever a policy gives counts as leave",
        "runtime/door.py",
        "        if not isinstance(verdict, Allow | Ask | Deny):",
        "        if not isinstance(verdict, Allow | Ask | Deny):\n            verdict = ALLOW\n        if False:",
        (f"{ASKED}test_whatever_goes_wrong_means_no",),
    ),
    Row(
        "E5",
        "a slow policy lets later writers go first",
        "runtime/door.py",
        "        while self._line and self._line[0].ready and (verdict := self._line[0].verdict) is not None:\n"
        "            place = self._line.popleft()\n",
        "        for place in [p for p in self._line if p.ready and p.verdict is not None]:\n"
        "            self._line.remove(place)\n"
        "            verdict = place.verdict\n",
        (f"{ASKED}test_a_slow_policy_keeps_the_order_of_writers[anthropic]",),
    ),
    Row(
        "E1",
        "a call that was allowed runs once for every answer",
        "runtime/calls.py",
        " or call.id in self._schedule or call.id in self._door:",
        ":",
        (f"{ASKED}test_approved_calls_run_once_within_their_bounds[anthropic-running]",),
    ),
    Row(
        "C6",
        "edited arguments are not checked",
        "runtime/answering.py",
        "            tool.decode(raw)\n",
        "",
        (f"{ASKED}test_edited_arguments_are_what_runs_and_what_is_shown[anthropic-streamed]",),
    ),
    Row(
        "C6",
        "what has waited for too long is looked at once, however the clocks differ",
        "runtime/expiry.py",
        "            self.watch(turn.pending)",
        "            pass",
        (f"{ASKED}test_nobody_answers_in_time",),
    ),
    Row(
        "C6",
        "a call is given up only once its turn is parked",
        "runtime/door.py",
        "            self._session.expiry.watch((waits,))\n",
        "",
        (f"{ASKED}test_an_expiry_comes_also_while_another_call_runs",),
    ),
    Row(
        "C1",
        "an interrupt does not reach a parked turn",
        "runtime/session.py",
        "(resting and (turn is None or turn.opened))",
        "turn is None",
        (f"{ASKED}test_an_interrupt_closes_what_waits[anthropic-memory]",),
    ),
    Row(
        "C1",
        "an interrupt leaves the policy thinking",
        "runtime/calls.py",
        "        self._door.close()\n",
        "",
        (f"{ASKED}test_an_interrupt_ends_a_check[anthropic]",),
    ),
    Row(
        "C6",
        "a question is answered with anything",
        "runtime/answering.py",
        "self._answer_to(waits, answer)",
        "str(answer)",
        (f"{ANSWERED}test_the_user_is_asked[anthropic-streamed-memory]",),
    ),
    Row(
        "C6",
        "a result is taken from whoever is to give leave",
        "runtime/answering.py",
        "        if found.kind != kind:",
        "        if False:",
        (f"{ANSWERED}test_leave_first_and_then_the_result[anthropic]",),
    ),
]
