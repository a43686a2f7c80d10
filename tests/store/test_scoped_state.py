"""Scoped state: no change is lost, nothing is told before it is written, no old shape is misread; over every kind of store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec
import pytest
from tests.store.scoped import Elsewhere

from turnwise import Principal, State, StateKey
from turnwise.core.store import Records, Scope
from turnwise.errors import ConfigError, StateError
from turnwise.store.changing import UPDATE_TRIES
from turnwise.store.memory import MemoryStore


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)


class Price(msgspec.Struct, frozen=True):
    cents: int
    currency: str = "EUR"


class Address(TypedDict):
    street: str


@pytest.fixture
def records() -> Records:
    return MemoryStore()


@pytest.fixture
def state(records: Records) -> State:
    return State(records, Principal("acme", "ann"), agent="shop", session="s1", writer="s1/t1.s1.c0")


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Cart, Cart(["a", "ü", "🎉", "\x00"])),
        (Price, Price(5)),
        (Address, {"street": "x"}),
        (dict[str, int], {"a": 1}),
        (dict[int, str], {1: "a"}),
        (list[Price], [Price(1), Price(2, "USD")]),
        (int | None, None),
        (str, ""),
        (bytes, b"\xff\x00"),
        (bool, False),
        (float, 0.1),
        (Any, {"deep": [{"er": None}]}),
    ],
    ids=str,
)
async def test_values_come_back_as_their_type(state: State, kind: Any, value: Any) -> None:
    """P7: as what the reader asks for, not as what the state says."""
    key = StateKey("k", kind)
    made = await state.user.set(key, value)
    assert made.value == value and made.version == 1
    assert await state.user.get(key) == value == await state.user.get("k", kind)
    assert type(await state.user.get(key)) is type(value)
    found = await state.user.record(key)
    assert found == made and found.writer == "s1/t1.s1.c0" and found.created_at == found.updated_at


async def test_nothing_and_null_are_apart(state: State) -> None:
    assert await state.user.get("k") is None
    assert await state.user.record("k") is None
    assert await state.user.get("k", int, default=7) == 7
    await state.user.set("k", None)
    assert await state.user.get("k", default=7) is None
    assert (await state.user.record("k")) is not None


async def test_readers_do_not_share_a_value(state: State) -> None:
    given = Cart(["a"])
    await state.user.set("cart", given)
    given.items.append("b")
    one, two = await state.user.get("cart", Cart), await state.user.get("cart", Cart)
    assert one is not None and two is not None
    one.items.append("c")
    assert two.items == ["a"] == (await state.user.get("cart", Cart) or Cart()).items


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (StateKey("k"), object(), "object"),
        (StateKey("k"), {(1, 2): 3}, "keys"),
        (StateKey("k"), "\ud800", "surrogates"),
        (StateKey("k", Cart), {"items": "none"}, r"Cart.*items"),
        (StateKey("k", Price), None, "Price"),
        (StateKey("k", float), float("nan"), "float"),
    ],
)
async def test_what_would_not_come_back_is_not_written(
    state: State, key: StateKey[Any], value: object, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as raised:
        await state.user.set(key, value)
    assert raised.value.code == "not_json"
    assert await state.user.record("k") is None


async def test_values_are_bounded(records: Records) -> None:
    small = State(records, max_value_bytes=10)
    await small.user.set("k", "12345678")
    for write in (
        small.user.set("k", "123456789"),
        small.user.compare_and_set("k", 1, "123456789"),
        small.user.update("k", lambda old: old + "9"),
        small.user.update("other", lambda old: old, default="123456789"),
    ):
        with pytest.raises(StateError, match="11 bytes") as raised:
            await write
        assert raised.value.code == "value_too_large"
    assert [r.value for r in await small.user.list()] == ["12345678"]


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b", "\udc00"])
async def test_keys_that_no_store_could_take_are_refused(state: State, key: str) -> None:
    for use in (state.user.get, state.user.record, state.user.delete):
        with pytest.raises(ConfigError):
            await use(key)
    with pytest.raises(ConfigError):
        await state.user.set(key, 1)


# --- scopes -----------------------------------------------------------------------------------------------------------


async def test_scopes_are_apart(records: Records) -> None:
    def scopes(tenant: str, user: str, agent: str, session: str) -> list[Any]:
        state = State(records, Principal(tenant, user), agent=agent, session=session)
        return [state.global_, state.user, state.agent, state.session]

    one = scopes("acme", "ann", "shop", "s1")
    for n, scope in enumerate(one):
        await scope.set("k", n)
    assert [await s.get("k") for s in one] == [0, 1, 2, 3]
    assert [await s.get("k") for s in scopes("acme", "bob", "help", "s2")] == [0, None, None, None]
    assert [await s.get("k") for s in scopes("evil", "ann", "shop", "s1")] == [None] * 4
    assert one[0].scope == Scope("global", "", "acme")


async def test_a_scope_that_is_not_known_is_refused(records: Records) -> None:
    state = State(records)
    await state.user.set("k", 1)
    for kind in ("session", "agent"):
        with pytest.raises(ConfigError, match=kind) as raised:
            getattr(state, kind)
        assert raised.value.code == "no_scope"


async def test_lists_are_by_prefix_and_page(state: State) -> None:
    cart = StateKey("cart", Cart)
    for name in ("b", "a", "c"):
        await state.user.set(cart.of(name), Cart([name]))
    for other in ("cart", "carton", "car"):
        await state.user.set(other, "x")
    found = await state.user.list(cart)
    assert [(r.key, r.value.items) for r in found] == [("cart/a", ["a"]), ("cart/b", ["b"]), ("cart/c", ["c"])]
    assert [r.key for r in await state.user.list(cart, after="cart/a", limit=1)] == ["cart/b"]
    assert [r.key for r in await state.user.list()] == ["car", "cart", "cart/a", "cart/b", "cart/c", "carton"]
    assert [r.key for r in await state.user.list("carto")] == ["carton"]
    assert await state.session.list() == []


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_an_update_needs_a_record_or_a_default(state: State) -> None:
    def one_more(n: int) -> int:
        return n + 1

    with pytest.raises(StateError, match="default=") as raised:
        await state.user.update("n", one_more, int)
    assert raised.value.code == "missing_record"
    assert await state.user.update("n", one_more, int, default=0) == 1
    assert await state.user.update("n", one_more, int, default=0) == 2
    found = await state.user.record("n")
    assert found is not None and (found.value, found.version) == (2, 2)


async def test_compare_and_set_is_refused_for_another_version(state: State) -> None:
    first = await state.user.compare_and_set("k", 0, "a")
    for expected in (0, 2):
        with pytest.raises(StateError) as raised:
            await state.user.compare_and_set("k", expected, "b")
        assert raised.value.code == "version_conflict"
    assert (await state.user.compare_and_set("k", first.version, "c")).version == 2
    assert await state.user.get("k") == "c"
    with pytest.raises(ConfigError):
        await state.user.compare_and_set("k", -1, "d")


@pytest.mark.parametrize("what", ["raises", "awaits", "forgets", "breaks"])
async def test_a_change_that_goes_wrong_changes_nothing(state: State, what: str) -> None:
    cart = StateKey("cart", Cart)
    await state.user.set(cart, Cart(["a"]))

    async def awaiting(old: Any) -> Any:
        return old

    def change(old: Any) -> Any:
        match what:
            case "raises":
                raise KeyError("no")
            case "awaits":
                return awaiting(old)
            case "forgets":
                return old.items.append("b")
            case _:
                return Cart([1])  # type: ignore[list-item]

    expected = KeyError if what == "raises" else ConfigError
    with pytest.raises(expected):
        await state.user.update(cart, change)
    if what == "forgets":
        with pytest.raises(ConfigError, match="None"):
            await state.user.update("cart", lambda old: old["items"].append("b"))
    found = await state.user.record(cart)
    assert found is not None and (found.value.items, found.version) == (["a"], 1)


async def test_a_default_is_not_changed_by_what_is_made_of_it(records: Records) -> None:
    """Not even if another process comes in between, so that the change is made again."""
    others = State(records).user
    came = False

    async def come_between(when: str) -> None:
        nonlocal came
        if when == "before put" and not came:
            came = True
            await others.set("other", 1)
            await others.set("cart", Cart(["theirs"]))

    def add(cart: Cart) -> Cart:
        cart.items.append("mine")
        return cart

    default = Cart()
    mine = State(Elsewhere(records, come_between)).user
    assert (await mine.update("cart", add, Cart, default=default)).items == ["theirs", "mine"]
    assert default == Cart()


async def test_an_update_gives_up_in_the_end(records: Records) -> None:
    others = State(records).user
    tried = 0

    async def come_between(when: str) -> None:
        if when == "before put":
            await others.set("k", "theirs")

    def change(_: str) -> str:
        nonlocal tried
        tried += 1
        return "mine"

    mine = State(Elsewhere(records, come_between)).user
    with pytest.raises(StateError) as raised:
        await mine.update("k", change, default="")
    assert raised.value.code == "record_contended" and raised.value.retryable and tried == UPDATE_TRIES
    with pytest.raises(StateError) as raised:
        await mine.delete("k")
    assert raised.value.code == "record_contended"
    assert await others.get("k") == "theirs"


async def test_a_deleted_record_is_gone_and_its_version_goes_on(state: State) -> None:
    """Who has seen the old one does not take the new one for it."""
    first = await state.user.set("k", "old")
    with pytest.raises(StateError):
        await state.user.delete("k", expected_version=2)
    assert await state.user.delete("k", expected_version=1)
    assert not await state.user.delete("k")
    assert await state.user.get("k") is None and await state.user.list() == []
    with pytest.raises(StateError):
        await state.user.delete("k", expected_version=1)
    again = await state.user.compare_and_set("k", 0, "new")
    assert again.version > first.version
    with pytest.raises(StateError):
        await state.user.compare_and_set("k", first.version, "lost")
    assert await state.user.get("k") == "new"


async def test_a_record_deleted_in_between_is_not_taken_for_the_one_that_was_read(records: Records) -> None:
    others = State(records).user
    await others.set("n", 1)
    came = False

    async def come_between(when: str) -> None:
        nonlocal came
        if when == "before put" and not came:
            came = True
            await others.delete("n")
            await others.set("n", 100)

    assert await State(Elsewhere(records, come_between)).user.update("n", lambda n: n + 1) == 101


async def test_in_one_process_updates_never_try_twice(records: Records) -> None:
    """They stand in line: a hundred at once cost a hundred reads and a hundred writes."""
    seen: list[str] = []

    async def meet(when: str) -> None:
        seen.append(when)
        await asyncio.sleep(0)

    store = Elsewhere(records, meet)
    states = [State(store, writer=f"w{n}") for n in range(10)]
    await asyncio.gather(*[states[n % 10].user.update("n", lambda n: n + 1, default=0) for n in range(100)])
    assert await states[0].user.get("n") == 100
    assert seen.count("before put") == 100 and seen.count("before get") == 101


async def test_one_that_stands_in_line_may_leave(records: Records) -> None:
    """C3: cancelling it takes nothing from the others."""
    gate = asyncio.Event()

    async def meet(when: str) -> None:
        if when == "before put":
            await gate.wait()

    user = State(Elsewhere(records, meet)).user
    tasks = [asyncio.create_task(user.update("n", lambda n: n + 1, default=0)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(d, asyncio.CancelledError) for d in done] == [True, False, True, False]
    assert await user.get("n") == 2


async def test_a_store_in_memory_forgets_what_expired_long_ago() -> None:
    """What was deleted leaves nothing for ever; a version that somebody may still have in hand is kept."""
    now = [0.0]
    store = MemoryStore(lambda: now[0])
    user = State(store).user
    for n in range(3000):
        await user.set(f"k{n}", "a value", ttl_s=1.0)
    now[0] = 3000.0
    await user.set("late", 1)
    assert await user.delete("late")
    now[0] = 4000.0
    for n in range(3000):
        await user.set("other", n)
    assert (await store.stats())["bytes"] < 20
    assert (await user.set("late", 2)).version == 3
