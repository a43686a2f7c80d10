"""Publishing never waits, never fails and keeps its order; queues are bounded and say what they lost (rule H4)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.conftest import until

from turnwise import Runtime
from turnwise.bus import Bus, BusEvent, BusPolicy, HandlerFailed, Subscription
from turnwise.errors import ConfigError, SessionClosed, SessionError
from turnwise.runtime.bus.topics import matches, patterns_of

POLICIES: list[BusPolicy] = ["drop_oldest", "drop_newest", "coalesce", "disconnect"]


def waiting(subscription: Subscription) -> list[BusEvent]:
    """What waits, read without waiting."""
    out: list[BusEvent] = []
    while subscription.waiting:
        with pytest.raises(StopIteration) as stop:
            subscription.__anext__().send(None)
        out.append(stop.value.value)
    return out


def data(events: list[BusEvent]) -> list[Any]:
    return [event.data for event in events]


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.bb", "b.a"]),
        ("a.*.c", ["a.b.c", "a.x.c"], ["a.c", "a.b.b.c", "a.b.d"]),
        ("a.**", ["a.b", "a.b.c"], ["a", "ab.c"]),
        ("*.error", ["bus.error", "hook.error"], ["error", "a.b.error"]),
        ("**", ["a", "a.b.c"], []),
        ("**.error", ["bus.error", "a.b.error"], ["error"]),
        ("a.**.z", ["a.b.z", "a.b.z.z"], ["a.z", "a.b"]),
        ("*", ["a"], ["a.b"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    assert [topic for topic in [*fits, *fits_not] if matches((pattern,), topic)] == fits


WORDS = st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5)


@given(WORDS, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6))
def test_patterns_fit_as_their_definition_says(pattern: list[str], topic: list[str]) -> None:
    def fits(pattern: list[str], topic: list[str]) -> bool:
        if not pattern or not topic:
            return not pattern and not topic
        if pattern[0] == "**":
            return any(fits(pattern[1:], topic[n:]) for n in range(1, len(topic) + 1))
        return pattern[0] in ("*", topic[0]) and fits(pattern[1:], topic[1:])

    assert matches((".".join(pattern),), ".".join(topic)) == fits(pattern, topic)


@pytest.mark.parametrize("wrong", ["", "a..b", "a.b*", "***", "a b", ".", [], ["a", ""]])
def test_what_is_no_pattern_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        patterns_of(wrong)
    assert raised.value.code == "invalid_pattern"


async def test_a_subscription_made_later_gets_what_was_looked_up_before() -> None:
    """The table of topics is made anew when subscriptions change."""
    async with Runtime() as runtime:
        bus = runtime.bus
        first = bus.subscribe("a.*")
        bus.publish("a.b", 1)
        second = bus.subscribe(["a.b", "a.*"])
        bus.publish("a.b", 2)
        first.close()
        bus.publish("a.b", 3)
        assert data(waiting(first)) == [] and data(waiting(second)) == [2, 3]


async def test_topics_made_up_as_they_come_do_not_pile_up() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("job.*", size=10)
        for n in range(10_000):
            runtime.bus.publish(f"job.{n}", n)
        assert data(waiting(events)) == list(range(9990, 10_000))
        assert len(runtime.bus._table) <= 4096  # pyright: ignore[reportPrivateUsage]


# --- order and queues -------------------------------------------------------------------------------------------------


async def test_cursors_only_grow_and_everybody_sees_one_order() -> None:
    async with Runtime() as runtime:
        both = [runtime.bus.subscribe("**"), runtime.bus.subscribe("**", policy="coalesce", key=lambda e: e.cursor)]
        for n in range(100):
            runtime.bus.publish(f"a.{n % 3}", n)
        seen = [waiting(one) for one in both]
        assert seen[0] == seen[1] and [event.cursor for event in seen[0]] == list(range(1, 101))
        assert runtime.bus.cursor == 100 and both[0].cursor == 100


@pytest.mark.parametrize(
    ("policy", "left", "lost"),
    [
        ("drop_oldest", [3, 4, 5], 3),
        ("drop_newest", [0, 1, 2], 3),
        ("coalesce", [4, 5], 0),
        ("disconnect", [0, 1, 2], 1),
    ],
)
async def test_a_full_queue_does_what_it_was_told(policy: BusPolicy, left: list[int], lost: int) -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("a.*", policy=policy, size=3)
        for n in range(6):
            runtime.bus.publish(f"a.{n % 2}", n)
        (status,) = runtime.bus.status().subscribers or (events.status,)
        assert data(waiting(events)) == left
        assert (events.dropped, status.dropped) == (lost, lost) and events.coalesced == (
            4 if policy == "coalesce" else 0
        )


async def test_coalescing_more_keys_than_there_is_room_for_drops_the_oldest() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("job.*", policy="coalesce", size=2, key=lambda event: event.data["job"])
        for job, percent in ((1, 10), (2, 20), (1, 30), (3, 40)):
            runtime.bus.publish("job.progress", {"job": job, "percent": percent})
        assert [event["percent"] for event in data(waiting(events))] == [30, 40]
        assert (events.dropped, events.coalesced) == (1, 1)


@given(st.sampled_from(POLICIES), st.integers(1, 4), st.lists(st.sampled_from(["a", "b", "c", "read"]), max_size=40))
def test_queues_account_for_every_event(policy: BusPolicy, size: int, story: list[str]) -> None:
    """Whatever happens: what was published was read, waits, was dropped or was replaced; never more than `size` wait; order holds."""

    async def play() -> None:
        async with Runtime() as runtime:
            events = runtime.bus.subscribe("*", policy=policy, size=size)
            read: list[BusEvent] = []
            published = 0
            for what in story:
                if what == "read":
                    if events.waiting:
                        read.append(await anext(events))
                elif not events.closed:
                    runtime.bus.publish(what)
                    published += 1
                assert events.waiting <= size
            assert published == len(read) + events.waiting + events.dropped + events.coalesced
            assert [e.cursor for e in read] == sorted({e.cursor for e in read})

    asyncio.run(play())


async def test_a_subscriber_that_is_cut_off_reads_what_waits_and_is_told() -> None:
    async with Runtime() as runtime:
        errors = runtime.bus.subscribe("*.error")
        events = runtime.bus.subscribe("a.b", policy="disconnect", size=2)
        for n in range(4):
            runtime.bus.publish("a.b", n)
        assert [(await anext(events)).data, (await anext(events)).data] == [0, 1]
        with pytest.raises(SessionError) as raised:
            await anext(events)
        assert raised.value.code == "subscription_cut_off"
        assert [event async for event in events] == []
        failed = (await anext(errors)).data
        assert isinstance(failed, HandlerFailed) and failed.error.code == "cut_off"
        assert len(runtime.bus.status().subscribers) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "block"}, "session.watch('block')"),
        ({"policy": "drop"}, "drop_oldest"),
        ({"size": 0}, "no room"),
        ({"key": str}, "coalesce"),
        ({"weak": True}, "handlers"),
        ({"handler": 3}, "called"),
        ({"pattern": "text.delta"}, "session.watch()"),
    ],
)
async def test_what_a_subscriber_cannot_have_is_refused(options: dict[str, Any], says: str) -> None:
    """`block` above all: it holds up a turn, and is for its watchers."""
    async with Runtime() as runtime:
        with pytest.raises(ConfigError) as raised:
            runtime.bus.subscribe(**{"pattern": "a.b", **options})
        assert says in str(raised.value)
        assert not runtime.bus.status().subscribers


# --- handlers ---------------------------------------------------------------------------------------------------------


async def test_handlers_run_in_a_task_of_their_own_never_in_publish() -> None:
    """H4: also on Pythons whose tasks begin at once."""
    seen: list[tuple[Any, bool]] = []
    publisher = asyncio.current_task()

    def at_once(event: BusEvent) -> None:
        seen.append((event.data, asyncio.current_task() is publisher))

    async def slowly(event: BusEvent) -> None:
        await asyncio.sleep(0)
        at_once(event)

    async with Runtime() as runtime:
        runtime.bus.subscribe("a.*", at_once)
        runtime.bus.subscribe("a.*", slowly)
        for n in range(3):
            runtime.bus.publish("a.b", n)
        assert not seen
        await until(lambda: len(seen) == 6)
        assert sorted(seen) == [(n, False) for n in (0, 0, 1, 1, 2, 2)]
        await until(lambda: runtime.status().tasks == 0)


async def test_an_error_in_a_handler_is_an_event_and_stops_nothing() -> None:
    seen: list[Any] = []

    async def fails(event: BusEvent) -> None:
        seen.append(event.data)
        if event.data == 1:
            raise ValueError("no")
        if event.data == 2:
            raise asyncio.CancelledError

    async with Runtime() as runtime:
        errors = runtime.bus.subscribe("bus.error")
        subscription = runtime.bus.subscribe("a.*", fails)
        for n in range(4):
            runtime.bus.publish("a.b", n)
        await until(lambda: len(seen) == 4)
        first, second = (await anext(errors)).data, (await anext(errors)).data
        assert (first.topic, first.cursor, first.error.code, first.error.detail) == (
            "a.b",
            2,
            "subscriber_failed",
            "ValueError",
        )
        assert second.error.detail == "CancelledError" and subscription.status.errors == 2
        assert subscription.status.last_error == second.error


async def test_errors_of_an_error_handler_come_to_an_end() -> None:
    seen: list[str] = []

    def fails(event: BusEvent) -> None:
        seen.append(event.topic)
        raise ValueError("no")

    async with Runtime() as runtime:
        subscription = runtime.bus.subscribe("**", fails)
        runtime.bus.publish("a.b")
        await until(lambda: len(seen) == 2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert seen == ["a.b", "bus.error"] and subscription.status.errors == 2


async def test_a_handler_that_never_returns_holds_up_nobody() -> None:
    """H4, C4: its queue is full, the others get everything, and closing the runtime does not wait for it for ever."""
    entered = asyncio.Event()

    async def hangs(event: BusEvent) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with Runtime() as runtime:
        stuck = runtime.bus.subscribe("a.*", hangs, size=5)
        others = runtime.bus.subscribe("a.*", size=1000)
        runtime.bus.publish("a.b", -1)
        await entered.wait()
        for n in range(100):
            runtime.bus.publish("a.b", n)
        assert len(waiting(others)) == 101 and (stuck.waiting, stuck.dropped) == (5, 95)
        stuck.close()


async def test_closing_the_runtime_lets_handlers_deal_with_what_waits() -> None:
    seen: list[Any] = []

    async def slowly(event: BusEvent) -> None:
        await asyncio.sleep(0.001)
        seen.append(event.data)

    async with Runtime() as runtime:
        runtime.bus.subscribe("a.*", slowly)
        reader = runtime.bus.subscribe("a.*")
        for n in range(5):
            runtime.bus.publish("a.b", n)
    assert seen == [0, 1, 2, 3, 4]
    assert data([event async for event in reader]) == seen
    runtime.bus.publish("a.b", 5)
    assert runtime.bus.status().subscribers == ()
    with pytest.raises(SessionClosed):
        runtime.bus.subscribe("a.*")


# --- weak subscriptions -----------------------------------------------------------------------------------------------


class Counter:
    """`counts` is kept by the test, the counter only by itself."""

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def add(self, event: BusEvent) -> None:
        self.counts.append(event.cursor)


async def test_a_dead_weak_observer_is_gone_after_the_next_publish() -> None:
    """Proof 3: a bound method is held by its object, not by the method that was made of it and is garbage at once."""
    async with Runtime() as runtime:
        bus, counts = runtime.bus, list[int]()
        counter = Counter(counts)
        bus.subscribe("a.*", counter.add, weak=True)
        gc.collect()
        bus.publish("a.b")
        await until(lambda: counts)
        bus.publish("a.b")
        del counter
        gc.collect()
        bus.publish("other.topic")
        assert len(bus.status().subscribers) == 0 and bus._subscribers == ()  # pyright: ignore[reportPrivateUsage]
        await until(lambda: runtime.status().tasks == 0)
        assert counts == [1], "what waited for it is gone, too"


async def test_weak_functions_and_strong_ones() -> None:
    async with Runtime() as runtime:
        seen: list[str] = []

        def make(name: str) -> Callable[[BusEvent], None]:
            return lambda event: seen.append(name)

        kept = make("kept")
        runtime.bus.subscribe("a.*", kept, weak=True)
        runtime.bus.subscribe("a.*", make("weak"), weak=True)
        runtime.bus.subscribe("a.*", make("strong"))
        gc.collect()
        runtime.bus.publish("a.b")
        await until(lambda: len(seen) == 2)
        assert sorted(seen) == ["kept", "strong"] and len(runtime.bus.status().subscribers) == 2


async def test_a_subscription_that_nobody_holds_is_closed() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("a.*")
        del events
        gc.collect()
        runtime.bus.publish("a.b")
        assert runtime.bus._subscribers == ()  # pyright: ignore[reportPrivateUsage]


# --- unsubscribing ----------------------------------------------------------------------------------------------------


async def test_unsubscribing_inside_a_handler_stops_also_what_waits() -> None:
    """H4."""
    seen: list[Any] = []

    def once(event: BusEvent) -> None:
        seen.append(event.data)
        subscription.close()

    async with Runtime() as runtime:
        subscription = runtime.bus.subscribe("a.*", once)
        for n in range(10):
            runtime.bus.publish("a.b", n)
        await until(lambda: seen)
        runtime.bus.publish("a.b", 10)
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == [0] and subscription.closed and subscription.waiting == 0


async def test_one_handler_may_unsubscribe_another() -> None:
    seen: list[str] = []

    async with Runtime() as runtime:

        def first(event: BusEvent) -> None:
            seen.append("first")
            other.close()

        runtime.bus.subscribe("a.*", first)
        other = runtime.bus.subscribe("a.*", lambda event: seen.append("other"))
        runtime.bus.publish("a.b")
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == ["first"]


async def test_closing_wakes_who_waits_and_throws_away_what_waits() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("a.*")

        async def read() -> list[BusEvent]:
            return [event async for event in events]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        events.close()
        assert await reading == []
        others = runtime.bus.subscribe("a.*")
        runtime.bus.publish("a.b")
        others.close()
        others.close()
        assert [event async for event in others] == []


async def test_one_task_reads_a_subscription() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("a.*")
        reading = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(SessionError) as raised:
            await anext(events)
        assert raised.value.code == "two_readers"
        reading.cancel()
        await asyncio.wait([reading])
        runtime.bus.publish("a.b", 1)
        assert (await anext(events)).data == 1, "a cancelled read loses nothing"
        handled = runtime.bus.subscribe("a.*", lambda event: None)
        with pytest.raises(SessionError) as raised:
            aiter(handled)
        assert raised.value.code == "handler_subscribed"


# --- whatever publishes -----------------------------------------------------------------------------------------------


async def test_publishing_never_raises() -> None:
    """H4: neither what is published nor the key of a subscriber can fail the one who publishes."""
    odd: list[Any] = [3, None, ["a"], "", "a..b", "a.*"]

    def key(event: BusEvent) -> Any:
        if event.data == "hash":
            return []
        raise ValueError("no")

    async with Runtime() as runtime:
        errors = runtime.bus.subscribe("bus.error")
        for topic in odd:
            runtime.bus.publish(topic)
        found = [(await anext(errors)).data for _ in odd]
        assert {failed.error.code for failed in found} == {"not_published"}
        assert [failed.topic for failed in found] == [repr(topic) for topic in odd]
        coalescing = runtime.bus.subscribe("a.*", policy="coalesce", key=key)
        runtime.bus.publish("a.b", 1)
        runtime.bus.publish("a.b", "hash")
        assert (await anext(coalescing)).data == "hash", "the topic is the key of what has none"
        assert [(await anext(errors)).data.error.code for _ in "12"] == ["subscriber_failed"] * 2


async def test_other_threads_publish_in_their_order() -> None:
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("thread.*", size=10_000)

        def publish(name: int) -> None:
            for n in range(500):
                runtime.tell_bus(f"thread.{name}", n)

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        await until(lambda: events.waiting == 2000)
        for thread in threads:
            thread.join()
        seen = waiting(events)
        assert [event.cursor for event in seen] == list(range(1, 2001))
        for name in range(4):
            assert [event.data for event in seen if event.topic == f"thread.{name}"] == list(range(500))


async def test_a_loop_that_is_busy_takes_in_no_more_than_it_can_hold() -> None:
    """C4: what other threads publish meanwhile is bounded, and what is refused is counted."""
    async with Runtime() as runtime:
        events = runtime.bus.subscribe("a.*", size=20_000)

        def publish() -> None:
            for n in range(12_000):
                runtime.bus.publish("a.b", n)

        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()  # the loop stands still
        await until(lambda: events.waiting)
        assert events.waiting == 10_000 and runtime.bus.status().refused == 2000


async def test_another_thread_may_close_and_not_subscribe() -> None:
    async with Runtime() as runtime:
        bus = runtime.bus
        events = bus.subscribe("a.*")
        bus.publish("a.b")

        def close() -> None:
            events.close()
            with pytest.raises(RuntimeError, match="own loop"):
                bus.subscribe("a.*")

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()  # the loop stands still: what waits was not thrown away yet
        assert [event async for event in events] == []
        await until(lambda: not bus.status().subscribers)


async def test_after_the_loop_is_gone_nothing_happens() -> None:
    buses: list[Bus] = []

    async def main() -> None:
        async with Runtime() as runtime:
            buses.append(runtime.bus)
            runtime.bus.subscribe("a.*", lambda event: None)

    await asyncio.to_thread(lambda: asyncio.run(main()))
    buses[0].publish("a.b")


async def test_nobody_who_never_asked_for_the_bus_has_one() -> None:
    async with Runtime() as runtime:
        runtime.tell_bus("a.b")
        runtime.health.degrade("prices", "prices_unreadable", "no")
        assert runtime.status().bus is None and runtime.observers == () and not runtime.health.changed
