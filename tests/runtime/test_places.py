"""Places for turns: the bound holds, tenants take turns, and whoever leaves the queue leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import run_guarded

from turnwise.errors import SessionError
from turnwise.runtime import refusals
from turnwise.runtime.places import Places


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_tenants_take_turns() -> None:
    """C4: a tenant that asks for a hundred turns delays another's only one by one place, and its own stay in order."""
    places, order = Places(1), list[str]()

    async def turn(name: str, tenant: str) -> None:
        await places.take(name, tenant)
        order.append(name)
        await asyncio.sleep(0)
        places.give_back(name)

    tasks = [asyncio.create_task(turn(f"a{n}", "a")) for n in range(100)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(turn("b0", "b")), asyncio.create_task(turn("c0", "c"))]
    await asyncio.gather(*tasks)
    assert order.index("b0") <= 3 and order.index("c0") <= 4, order[:6]
    assert [n for n in order if n.startswith("a")] == [f"a{n}" for n in range(100)]
    assert (places.taken, places.waiting) == (0, 0)


async def test_too_many_waiting_are_refused() -> None:
    places = Places(1, most_waiting=1)
    await places.take("first", "a")
    second = asyncio.create_task(places.take("second", "a"))
    await asyncio.sleep(0)
    with pytest.raises(SessionError) as raised:
        await places.take("third", "b")
    assert raised.value.code == "too_many_waiting" and raised.value.retryable
    places.give_back("first")
    assert await second


async def test_a_turn_that_is_called_off_leaves_the_queue_without_a_place() -> None:
    places = Places(1)
    await places.take("first", "a")
    second = asyncio.create_task(places.take("second", "a"))
    await asyncio.sleep(0)
    assert places.waits("second")
    places.call_off("second")
    assert await second is False
    assert (places.taken, places.waiting) == (1, 0)


async def test_a_cancelled_turn_gives_back_what_it_got_in_that_very_moment() -> None:
    """C3: the place was handed out, and the task cancelled before it knew."""
    places = Places(1)
    await places.take("first", "a")
    second = asyncio.create_task(places.take("second", "a"))
    third = asyncio.create_task(places.take("third", "a"))
    await asyncio.sleep(0)
    places.give_back("first")
    second.cancel()
    assert await third
    assert second.cancelled() or (await asyncio.wait((second,)))[0]
    assert (places.taken, places.waiting) == (1, 0)


async def test_closing_refuses_those_that_wait_and_those_that_come() -> None:
    places = Places(1)
    await places.take("first", "a")
    second = asyncio.create_task(places.take("second", "a"))
    await asyncio.sleep(0)
    assert places.close(refusals.DRAINING) == ["second"]
    for wish in (second, places.take("third", "a")):
        with pytest.raises(SessionError) as raised:
            await wish
        assert raised.value.code == "draining"
    assert places.taken == 1


ACTIONS = st.lists(st.tuples(st.sampled_from(("ask", "end", "cancel", "call_off")), st.integers(0, 30)), max_size=60)


@examples(150)
@given(ACTIONS, st.integers(1, 4))
def test_no_place_is_lost_and_none_given_twice(actions: list[tuple[str, int]], most: int) -> None:
    """Whatever comes in whatever order: never more than `most` have a place, none waits while one is free, and all are free in the end."""

    async def story() -> None:
        places, tasks, asked, over = Places(most), dict[int, asyncio.Task[bool]](), 0, set[int]()

        def check() -> None:
            assert places.taken <= most
            assert not places.waiting or places.taken == most

        for what, number in actions:
            if what == "ask":
                tasks[asked] = asyncio.create_task(places.take(asked, f"tenant {number % 3}"))
                asked += 1
            elif number in tasks:
                if what == "end" and tasks[number].done():
                    over.add(number)
                    places.give_back(number)
                elif what == "cancel":
                    tasks[number].cancel()
                elif what == "call_off":
                    places.call_off(number)
            if number % 2:
                await settle()
                check()
        await settle()
        check()
        for _ in range(asked + 1):
            for number, task in tasks.items():
                if task.done():
                    places.give_back(number)
            await settle()
        assert all(task.done() for task in tasks.values())
        for number in tasks:
            places.give_back(number)
        assert (places.taken, places.waiting) == (0, 0)

    run_guarded(story())


async def test_each_tenant_gets_its_share() -> None:
    """Of the first thirty places, three tenants with queues of very different length get ten each."""
    places, order = Places(2), list[str]()

    async def turn(name: object, tenant: str) -> None:
        await places.take(name, tenant)
        order.append(tenant)
        await asyncio.sleep(0)
        places.give_back(name)

    queues = {"a": 200, "b": 20, "c": 12}
    tasks = [asyncio.create_task(turn((tenant, n), tenant)) for tenant, many in queues.items() for n in range(many)]
    await asyncio.gather(*tasks)
    share = Counter(order[2:32])
    assert max(share.values()) - min(share.values()) <= 1, share
