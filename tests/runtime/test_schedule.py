"""Writers on one resource in order, readers together (rule E5): the schedule by itself, whatever comes and goes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.runtime.schedule import Schedule
from turnwise.tools import Tool, tool


async def touch() -> None: ...


READS = [tool(touch, name="reads", read_only=True), tool(touch, name="reads_alone", read_only=True, concurrency=1)]
WRITES = [tool(touch, name="writes"), tool(touch, name="writes_two", concurrency=2)]


class Call(msgspec.Struct, frozen=True):
    number: int
    tool: Tool[..., object]
    resources: tuple[str, ...]

    @property
    def id(self) -> str:
        return str(self.number)

    def clashes(self, other: Call) -> bool:
        """They touch the same thing and one of them changes it."""
        return bool(set(self.resources) & set(other.resources)) and not (self.tool.read_only and other.tool.read_only)


calls = st.lists(
    st.tuples(
        st.sampled_from(READS + WRITES),
        st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(tuple),
    ),
    max_size=14,
).map(lambda given: [Call(n, t, r) for n, (t, r) in enumerate(given)])


@examples(300)
@given(calls, st.integers(1, 6), st.data())
def test_the_order_of_clashing_calls_is_kept(given: list[Call], bound: int, data: st.DataObject) -> None:
    """E5: of two calls that clash the earlier has ended when the later begins; no bound is passed; whoever may run, runs."""
    schedule: Schedule[Call] = Schedule()
    coming, begun, ended = list(given), list[Call](), list[Call]()
    while coming or len(ended) < len(given):
        if coming and (len(begun) == len(ended) or data.draw(st.booleans())):
            one = coming.pop(0)
            begins = [one] if schedule.enter(one, bound) else []
        else:
            running = [c for c in begun if c not in ended]
            gone = data.draw(st.sampled_from(running))
            ended.append(gone)
            begins = schedule.leave(gone.id, bound)
        begun += begins
        for one in begins:
            assert all(earlier in ended for earlier in given[: one.number] if earlier.clashes(one))
        check(given[: len(given) - len(coming)], begun, ended, bound)
        assert schedule.running == {c.id: c for c in begun if c not in ended}
    assert len(begun) == len(given), "nothing waits for ever"


def check(entered: Sequence[Call], begun: list[Call], ended: list[Call], bound: int) -> None:
    running = [c for c in begun if c not in ended]
    assert len(running) <= bound
    for each in READS + WRITES:
        assert each.concurrency is None or sum(c.tool is each for c in running) <= each.concurrency
    for one in entered:
        if one in begun or len(running) == bound:
            continue
        full = one.tool.concurrency is not None and sum(c.tool is one.tool for c in running) == one.tool.concurrency
        assert full or any(e.clashes(one) for e in entered[: one.number] if e not in ended), "it waits for nothing"


def test_readers_together_and_a_writer_is_not_overtaken() -> None:
    schedule: Schedule[Call] = Schedule()
    reads, writes = READS[0], WRITES[0]
    first, second, writer, third = [Call(n, t, ("a",)) for n, t in enumerate((reads, reads, writes, reads))]
    assert [schedule.enter(c, 9) for c in (first, second, writer, third)] == [True, True, False, False]
    assert schedule.leave("0", 9) == []
    assert schedule.leave("1", 9) == [writer], "the reader behind it does not go first"
    assert schedule.leave("2", 9) == [third]
