"""Promises about the search for words in messages and tool results."""

from __future__ import annotations

from ...core.messages import UserMessage
from ...core.principal import LOCAL, Principal
from ...core.store import Edit, NewSession, Query
from .kit import Trial, expect, promises, same
from .samples import AT, TRICKY_TEXTS, SessionCreated, asked, created, did, ended, numbered, said, session_of

TENANT = LOCAL.tenant

ODD_QUERIES = (
    *TRICKY_TEXTS,
    '"',
    '""',
    '"unfinished',
    'two "quotes" and "one',
    "'",
    "AND",
    "apple AND",
    "NOT apple",
    "apple OR (pear",
    "NEAR(apple pear, 2)",
    "apple*",
    "*",
    "^apple",
    "text:apple",
    "apple:*",
    "apple & pear | !plum",
    "apple <-> pear",
    "-apple",
    "+apple",
    "{apple}",
    "[apple]",
    "\\",
    '\\"',
    "%",
    "_",
    ";",
    "--",
    "   \t\n ",
    "a" * 5000,
    "apple " * 300,
)


@promises(
    "search() finds what users, models and tools said, in any case, and says where: session, entry, and the words in brackets."
)
async def what_was_said_is_found(t: Trial) -> None:
    await t.store.create(NewSession(id="s1", name="fruit", title="About fruit"))
    entries = [created("s1"), asked("Tell me of Quinces."), said("A pome."), did("Cydonia oblonga grows here"), ended()]
    await t.store.append("s1", 0, entries)
    await t.store.append("s2", 0, session_of("s2", "Nothing of that."))
    for text, entry, word in (
        ("quinces", 2, "Quinces"),
        ("QUINCES", 2, "Quinces"),
        ("pome", 3, "pome"),
        ("oblonga", 4, "oblonga"),
        ("cydonia here", 4, "Cydonia"),
    ):
        hits = await t.store.search(TENANT, text)
        same([(hit.session, hit.entry) for hit in hits], [("s1", entry)], f"session and entry of search({text!r})")
        same((hits[0].name, hits[0].title), ("fruit", "About fruit"), f"name and title of search({text!r})")
        expect(f"[{word}]" in hits[0].excerpt, f"the excerpt of search({text!r}) is {hits[0].excerpt!r}")
        info = await t.info("s1")
        expect(
            info.created_at <= hits[0].at <= info.updated_at, f"Hit.at is {hits[0].at}, outside of the session's life"
        )
    same(len(await t.store.search(TENANT, "absent")), 0, "hits of a word that nobody said")


@promises("A hit has all of the words, each as a whole word; words in double quotes stand together.")
async def all_words_are_asked_for(t: Trial) -> None:
    texts = ("red apple pie", "apple and red wine", "a pie of green apples", "an applered pie")
    for n, text in enumerate(texts, 1):
        await t.store.append(f"s{n}", 0, session_of(f"s{n}", text))
    for text, wanted in (
        ("apple", {"s1", "s2"}),
        ("apple red", {"s1", "s2"}),
        ("red apple pie", {"s1"}),
        ('"red apple"', {"s1"}),
        ('"apple red"', set[str]()),
        ('"apple pie" red', {"s1"}),
        ('"red wine" apple', {"s2"}),
        ('"pie"', {"s1", "s3", "s4"}),
        ("apple plum", set[str]()),
    ):
        same({hit.session for hit in await t.store.search(TENANT, text)}, wanted, f"sessions of search({text!r})")


@promises(
    "Any text is a valid query, also one that means something in another language; text that has no words finds nothing."
)
async def any_text_is_a_query(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1", "apple pear"))
    for text in ODD_QUERIES:
        await t.store.search(TENANT, text)
    for text in ("", "   ", '"', '""', "*", "-", ";"):
        same(len(await t.store.search(TENANT, text)), 0, f"hits of search({text!r})")
    for text in ("apple AND", "NOT apple", "apple OR plum", "apple not pear"):
        same(len(await t.store.search(TENANT, text)), 0, f"hits of search({text!r}): its words are words")
    same(len(await t.store.search(TENANT, "apple* -pear")), 1, "hits of search('apple* -pear'): signs are no words")


@promises("Texts are found by their own words, in any script, and whatever other characters they have.")
async def any_text_is_found(t: Trial) -> None:
    texts = {
        "s1": ("naïve café Ångström", "ångström"),
        "s2": ("Привет, мир", "мир"),
        "s3": ("世界 こんにちは", "世界"),
        "s4": ("see src/main.py, line 12", "src/main.py"),
        "s5": ("a NUL \x00 in a binary output", "binary"),
        "s6": ("""it's "quoted" \\ and 100% so""", "quoted"),
        "s7": ("snake_case_name = kebab-case-value", "snake_case_name"),
        "s8": ("version 3.11.4 of it", "3.11.4"),
    }
    for session, (text, _) in texts.items():
        await t.store.append(session, 0, session_of(session, text))
    for session, (text, query) in texts.items():
        found = [hit.session for hit in await t.store.search(TENANT, query)]
        same(found, [session], f"sessions of search({query!r}), after {text!r} was said")


@promises("A search stays within its tenant, and within a user or a session if one is given.")
async def searches_stay_where_they_belong(t: Trial) -> None:
    principals = {"s1": LOCAL, "s2": Principal(TENANT, "bob"), "s3": Principal("elsewhere", LOCAL.user)}
    for session, principal in principals.items():
        await t.store.append(session, 0, session_of(session, "common word", principal))
    for wanted, tenant, user, session in (
        ({"s1", "s2"}, TENANT, None, None),
        ({"s3"}, "elsewhere", None, None),
        (set[str](), "nowhere", None, None),
        ({"s2"}, TENANT, "bob", None),
        ({"s1"}, TENANT, None, "s1"),
        (set[str](), TENANT, "bob", "s1"),
        (set[str](), TENANT, None, "s3"),
    ):
        hits = await t.store.search(tenant, "common", user=user, session=session)
        same({h.session for h in hits}, wanted, f"sessions of search({tenant!r}, user={user!r}, session={session!r})")


@promises("At most `limit` hits are given, the best first.")
async def the_best_come_first(t: Trial) -> None:
    filler = " ".join(f"filler{n}" for n in range(400))
    await t.store.append("s0", 0, session_of("s0", f"{filler} walnut {filler}"))
    await t.store.append("s1", 0, session_of("s1", "walnut walnut walnut"))
    for n in range(2, 8):
        await t.store.append(f"s{n}", 0, session_of(f"s{n}", f"{filler} walnut {filler}"))
    same(len(await t.store.search(TENANT, "walnut")), 8, "hits without a limit")
    for limit in (1, 3):
        hits = await t.store.search(TENANT, "walnut", limit=limit)
        same(len(hits), limit, f"hits with limit={limit}")
        same(hits[0].session, "s1", "where the best hit is: a short text that says the word three times")
    excerpt = (await t.store.search(TENANT, "walnut", session="s0"))[0].excerpt
    expect("[walnut]" in excerpt, f"the excerpt does not show the word: {excerpt!r}")
    expect(len(excerpt) < 1000, f"the excerpt has {len(excerpt)} characters")


@promises("What a session was begun with is found in it; what a fork was begun with is found only where it was said.")
async def forks_are_not_found_twice(t: Trial) -> None:
    history = (UserMessage("an heirloom tomato", turn=1),)
    await t.store.append("s1", 0, [SessionCreated("s1", LOCAL, AT, history=history)])
    await t.store.append("s2", 0, [SessionCreated("s2", LOCAL, AT, history=history, forked_from="s1")])
    hits = await t.store.search(TENANT, "heirloom")
    same([(h.session, h.entry) for h in hits], [("s1", 1)], "session and entry of what both begin with")


@promises(
    "Search follows appends at once, shows the title as it is now, and forgets what is deleted; archived sessions are found."
)
async def searches_are_up_to_date(t: Trial) -> None:
    await t.store.append("s1", 0, session_of("s1", "first words"))
    await t.store.append("s1", 4, [said("a marvellous thing"), *numbered(2)])
    await t.store.edit("s1", Edit(title="New title", name="named", archived=True))
    hits = await t.store.search(TENANT, "marvellous")
    same([(h.session, h.entry, h.title, h.name) for h in hits], [("s1", 5, "New title", "named")], "the hit")
    await t.store.delete("s1")
    same(len(await t.store.search(TENANT, "marvellous")), 0, "hits after the session was deleted")
    same(len(await t.store.sessions(Query(archived=None))), 0, "sessions after it was deleted")
