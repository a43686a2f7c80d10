"""`turnwise sessions …`: what is kept is listed, read, searched, moved and tidied up, for people and for programs."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from turnwise import Agent, Principal
from turnwise.core.store import Owner, Query
from turnwise.store.sqlite import SqliteStore
from turnwise.testing import ScriptedProvider, reply

if TYPE_CHECKING:
    from .conftest import Cli, Inside

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def kept(inside: Inside) -> Inside:
    """Two sessions: one about the sky, and one named plan."""
    with ScriptedProvider(
        [reply("Rayleigh scattered it."), reply("First things first."), reply("Then the rest.")]
    ) as provider:
        inside.use(provider)
        inside.run("-q", "Why is the sky blue?")
        inside.run("-q", "--session", "plan", "What\tshould I do?")
        inside.run("-q", "--session", "plan", "And then?")
    return inside


def ids(kept: Inside) -> dict[str, str]:
    """The ids of sessions by their titles."""
    return {row["title"]: row["id"] for row in kept.run("sessions", "--json").documents}


# --- list, show, search -----------------------------------------------------------------------------------------------


def test_a_list_in_a_pipe_is_tab_separated(kept: Inside) -> None:
    done = kept.run("sessions", "list")
    assert (done.code, done.err) == (0, "")
    cells = [line.split("\t") for line in done.lines]
    assert [(row[1], row[3], row[4], row[5], row[6]) for row in cells] == [
        ("plan", "2", "idle", "What should I do?", str(kept.folder)),
        ("-", "1", "idle", "Why is the sky blue?", str(kept.folder)),
    ]
    assert all(UUID.fullmatch(row[0]) for row in cells)
    assert kept.run("sessions").out == done.out, "the default command"


def test_a_list_as_json_has_these_keys(kept: Inside) -> None:
    """Programs rely on them."""
    first, second = kept.run("sessions", "list", "--json").documents
    assert list(first) == [
        *("id", "principal", "name", "title", "agent", "folder", "tags", "created_at", "updated_at", "last", "turns"),
        *("messages", "status", "archived", "owner", "claimed_until"),
    ]
    assert (first["name"], second["name"], first["turns"], first["messages"]) == ("plan", None, 2, 4)


def test_what_is_listed(kept: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.run("sessions", "edit", "plan", "--tag", "work", "--tag", "now")
    titles = {"What should I do?": "plan", "Why is the sky blue?": "sky"}

    def listed(*args: str) -> list[str]:
        return [titles[row["title"]] for row in kept.run("sessions", "list", "--json", *args).documents]

    assert listed("--tag", "work") == ["plan"]
    assert listed("--tag", "work", "--tag", "other") == []
    assert listed("-n", "1") == ["plan"]
    assert listed("--here") == ["plan", "sky"]
    kept.run("sessions", "edit", "plan", "--archive", "--untag", "now")
    assert listed() == ["sky"] and listed("--archived") == ["plan"]
    assert listed("--archived", "--tag", "now") == []
    monkeypatch.chdir(kept.home)
    assert listed("--here") == []
    assert kept.run("sessions", "list", "--here").err == "There are no such sessions.\n"


def test_many_are_listed_page_by_page(kept: Inside) -> None:
    from turnwise.core.store import NewSession

    async def fill(store: SqliteStore) -> None:
        for number in range(230):
            await store.create(NewSession(id=f"s{number}"))

    kept.store(fill)
    assert len(kept.run("sessions", "-n", "225").lines) == 225
    assert len(kept.run("sessions", "-n", "1000").lines) == 232


def test_a_session_is_shown(kept: Inside) -> None:
    done = kept.run("sessions", "show", "plan")
    assert (done.code, done.err) == (0, "")
    shown = done.out.decode()
    where = [shown.index(said) for said in ("What\tshould I do?", "First things first.", "And then?", "Then the rest.")]
    assert where == sorted(where)
    assert kept.run("sessions", "show").out == done.out, "the last one of this folder"
    (document,) = kept.run("sessions", "show", "plan", "--json").documents
    assert document["session"]["name"] == "plan"
    assert [(m["role"], m["body"]) for m in document["messages"]][:2] == [
        ("user", "What\tshould I do?"),
        ("assistant", "First things first."),
    ]


def test_words_are_found(kept: Inside) -> None:
    (hit,) = kept.run("sessions", "search", "scattered", "--json").documents
    assert hit["session"] == ids(kept)["Why is the sky blue?"] and hit["excerpt"] == "Rayleigh [scattered] it."
    assert list(hit) == ["session", "name", "title", "entry", "at", "excerpt"]
    (line,) = kept.run("sessions", "search", "first", "things").lines
    assert line.split("\t")[0] == "plan" and "[First] [things]" in line
    assert kept.run("sessions", "search", "scattered", "--session", "plan").err == "Nothing was found.\n"
    assert kept.run("sessions", "search", 'an "unbalanced').code == 0


def test_a_session_is_named_by_as_much_of_its_id_as_it_takes(kept: Inside) -> None:
    """Of two that were begun within the same minute the first characters are the same."""
    sky, plan = ids(kept)["Why is the sky blue?"], ids(kept)["What should I do?"]
    common = next(i for i in range(36) if sky[i] != plan[i])
    assert "Rayleigh" in kept.run("sessions", "show", sky[: common + 1].upper()).out.decode()
    done = kept.run("sessions", "show", sky[:common], "--json")
    assert done.code == 2 and done.error["code"] == "ambiguous_session" and sky in done.error["hint"]
    done = kept.run("sessions", "show", "nobody")
    assert done.code == 2 and "There is no session 'nobody'." in done.err


def test_a_name_goes_before_an_id(kept: Inside) -> None:
    """A session may be called like the beginning of another one's id."""
    sky = ids(kept)["Why is the sky blue?"]
    kept.run("sessions", "edit", "plan", "--name", sky[:8])
    assert "First things" in kept.run("sessions", "show", sky[:8]).out.decode()
    assert kept.run("sessions", "edit", sky[:8], "--name", "", "--title", "none", "--json").documents[0]["name"] is None


# --- export, import, fork ---------------------------------------------------------------------------------------------


def test_a_session_goes_out_and_comes_in(kept: Inside) -> None:
    """D5: an export of the import is the same conversation, and the program goes on with it."""
    done = kept.run("sessions", "export", "plan", "-o", "plan.jsonl", "--json")
    size = (kept.folder / "plan.jsonl").stat().st_size
    assert done.documents == [
        {"session": ids(kept)["What should I do?"], "format": "jsonl", "file": "plan.jsonl", "bytes": size}
    ]
    assert (
        kept.run("sessions", "export", "plan").lines[2:-1]
        == (kept.folder / "plan.jsonl").read_text().splitlines()[2:-1]
    )
    done = kept.run("sessions", "import", "plan.jsonl", "--name", "copy")
    assert done.code == 0 and UUID.fullmatch(done.lines[0])
    assert "turnwise --session copy" in done.err
    assert (
        kept.run("sessions", "show", "copy").out.partition(b"---")[2]
        == (kept.run("sessions", "show", "plan").out.partition(b"---")[2])
    )
    with ScriptedProvider([reply("Last of all.")]) as provider:
        kept.use(provider)
        assert kept.run("-c", "Finally?").out == b"Last of all.\n", "an import is the last session of this folder"
        assert len(provider.requests[0].body["messages"]) == 5


def test_an_export_is_piped_into_an_import(kept: Inside) -> None:
    export = kept.run("sessions", "export", "plan").out
    (row,) = kept.run("sessions", "import", "-", "--json", stdin=export).documents
    assert row["name"] is None and row["turns"] == 2, "the name is taken"


def test_how_to_go_on_can_be_pasted_into_a_shell(kept: Inside) -> None:
    """Names of several words are quoted."""
    export = kept.run("sessions", "export", "plan").out
    done = kept.run("sessions", "import", "-", "--name", "plan B", stdin=export)
    assert done.err.endswith("To go on with it: turnwise --session 'plan B'\n")
    done = kept.run("sessions", "fork", "plan", "--name", "other way")
    assert done.err.endswith("To go on with it: turnwise --session 'other way'\n")


@pytest.mark.parametrize(
    ("file", "begins"), [("a.md", "# What"), ("a.html", "<!doctype html>"), ("a.txt", "What should"), ("a", '{"type":')]
)
def test_the_name_of_a_file_says_the_format(kept: Inside, file: str, begins: str) -> None:
    done = kept.run("sessions", "export", "plan", "-o", file)
    assert done.code == 0 and file in done.err
    assert (kept.folder / file).read_text("utf-8").startswith(begins)
    assert [path.name for path in kept.folder.iterdir()] == [file], "nothing else is left"


def test_a_broken_export_is_refused(kept: Inside) -> None:
    """D5: with the line; as JSON, if that is asked for. An output that cannot be written leaves nothing."""
    export = kept.run("sessions", "export", "plan").out
    (kept.folder / "cut.jsonl").write_bytes(export[:-100])
    done = kept.run("sessions", "import", "cut.jsonl", "--json")
    assert (done.code, done.out) == (1, b"")
    assert done.error["code"] == "invalid_export" and "Line 11" in done.error["message"]
    assert len(kept.run("sessions").lines) == 2
    done = kept.run("sessions", "export", "plan", "-o", "no/such/folder.md")
    assert done.code == 2 and "no/such/folder.md cannot be written" in done.err
    assert kept.run("sessions", "export", "plan", "-f", "html", "--json").code == 2


def test_a_fork_goes_on_from_where_it_was(kept: Inside) -> None:
    done = kept.run("sessions", "fork", "plan", "--at", "1", "--name", "other way")
    assert done.code == 0 and UUID.fullmatch(done.lines[0])
    with ScriptedProvider([reply("Otherwise.")]) as provider:
        kept.use(provider)
        assert kept.run("--session", "other way", "Or?").out == b"Otherwise.\n"
        assert len(provider.requests[0].body["messages"]) == 3
    assert kept.run("sessions", "fork", "plan", "--at", "7", "--json").error["code"] == "invalid_value"
    assert len(kept.run("sessions").lines) == 3, "a fork that failed leaves nothing"
    (row,) = kept.run("sessions", "fork", "plan", "--json").documents
    assert row["messages"] == 4 and row["title"] == "What should I do?"


# --- delete, prune ----------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_unasked(kept: Inside) -> None:
    """P1: nobody is there to ask."""
    for args in (("delete", "plan"), ("prune", "--older-than", "0s", "--named"), ("prune", "--max-size", "1")):
        done = kept.run("sessions", *args, "--json")
        assert done.code == 2 and done.error["code"] == "not_confirmed", args
        assert kept.run("sessions", *args).code == 2
    assert len(kept.run("sessions").lines) == 2


def test_sessions_are_deleted(kept: Inside) -> None:
    sky = ids(kept)["Why is the sky blue?"]
    done = kept.run("sessions", "delete", "plan", sky[:13], "plan", "--yes", "--json")
    assert done.code == 0 and {document["deleted"] for document in done.documents} >= {sky} and len(done.documents) == 2
    assert kept.run("sessions").out == b""


def test_one_in_use_is_not_deleted(kept: Inside) -> None:
    """D3."""

    async def take(store: SqliteStore) -> None:
        (row,) = await store.sessions(Query(name="plan"))
        await store.heartbeat(Owner("other", "elsewhere", 7), 30.0)
        await store.claim(row.id, "other")

    kept.store(take)
    done = kept.run("sessions", "delete", "plan", "-y", "--json")
    assert done.code == 5 and done.error["code"] == "session_busy" and "process 7 on elsewhere" in done.error["message"]


@pytest.mark.parametrize(("keys", "left"), [(b"n\n", 2), (b"y\n", 1), (b"\n", 2), (b"\x03", 2)])
def test_a_person_is_asked(cli: Cli, kept: Inside, keys: bytes, left: int) -> None:
    terminal = cli.terminal(
        "sessions",
        "delete",
        "plan",
        env=cli.environment(TURNWISE_HOME=str(kept.home), NO_COLOR="1"),
        cwd=kept.folder,
    )
    terminal.read_until(b"Delete plan for good? [y/N]: ")
    terminal.type(keys)
    while keys == b"\x03" and terminal.process.poll() is None:
        # Python's readline loses a Ctrl-C that comes just as it begins to wait; a person presses again.
        with suppress(subprocess.TimeoutExpired):
            terminal.process.wait(1.0)
            break
        terminal.type(keys)
    shown = terminal.read_to_end()
    assert terminal.process.returncode == (130 if keys == b"\x03" else 0)
    assert ("Deleted: plan." in shown) is (left == 1)
    assert len(kept.run("sessions").lines) == left


def test_old_ones_and_large_ones_are_pruned(kept: Inside) -> None:
    (report,) = kept.run("sessions", "prune", "--max-size", "1kB", "--named", "--dry-run", "--json").documents
    assert list(report) == ["dry_run", "pruned", "kept", "bytes", "collected"]
    assert report["dry_run"] and [one["why"] for one in report["pruned"]] == ["size", "size"]
    done = kept.run("sessions", "prune", "--max-size", "1kB", "--named", "--dry-run")
    assert len(done.lines) == 2 and done.err.startswith("2 sessions would go. What is left takes 0 bytes.")
    assert len(kept.run("sessions").lines) == 2
    assert kept.run("sessions", "prune", "--older-than", "1d", "-y").err == "0 sessions went.\n"
    (report,) = kept.run("sessions", "prune", "--older-than", "0s", "-y", "--json").documents
    assert [one["session"]["title"] for one in report["pruned"]] == ["Why is the sky blue?"], "names are spared"
    assert [line.split("\t")[1] for line in kept.run("sessions").lines] == ["plan"]


@pytest.mark.parametrize(
    "args", [(), ("--older-than", "soon"), ("--older-than", "3"), ("--max-size", "big"), ("--max-size", "-1")]
)
def test_bounds_that_mean_nothing(kept: Inside, args: tuple[str, ...]) -> None:
    assert kept.run("sessions", "prune", "-y", *args).code == 2
    assert len(kept.run("sessions").lines) == 2


# --- verify, backup, restore ------------------------------------------------------------------------------------------


def test_all_is_well(kept: Inside) -> None:
    done = kept.run("sessions", "verify")
    assert done.code == 0 and done.out.startswith(b"2 sessions, ") and b"all good" in done.out
    (document,) = kept.run("sessions", "verify", "--json").documents
    assert document["ok"] and document["damage"] == []


def test_damage_is_told(kept: Inside) -> None:
    """D5: what is damaged, and what of it is good; what is good can still be had."""
    import sqlite3

    with sqlite3.connect(kept.home / "turnwise.db") as db:
        db.execute(
            "UPDATE entries SET data = CAST(replace(data, 'First t', 'Worst t') AS BLOB) WHERE instr(data, 'First t')"
        )
    db.close()
    done = kept.run("sessions", "verify")
    assert done.code == 1 and b"damaged" in done.out and b"entries are good" in done.out
    (document,) = kept.run("sessions", "verify", "--json").documents
    assert not document["ok"] and document["good"] == {ids(kept)["What should I do?"]: 2}
    done = kept.run("sessions", "export", "plan", "-o", "x.jsonl", "--json")
    assert done.code == 1 and done.error["code"] == "damaged_entry"
    assert not (kept.folder / "x.jsonl").exists()
    assert kept.run("sessions", "export", "plan", "--salvage", "-o", "x.jsonl").code == 0
    assert kept.run("sessions", "import", "x.jsonl", "--json").documents[0]["last"] == 2


def test_a_backup_brings_everything_back(kept: Inside) -> None:
    before = kept.run("sessions", "list", "--json").out
    done = kept.run("sessions", "backup", "all.db", "--json")
    assert done.documents == [{"file": "all.db", "bytes": (kept.folder / "all.db").stat().st_size}]
    done = kept.run("sessions", "restore", "all.db", "--json")
    assert done.code == 1 and done.error["code"] == "backup_exists"
    kept.home.rename(kept.home.with_name("old"))
    done = kept.run("sessions", "restore", "all.db")
    assert done.code == 0 and b"all good" in done.out
    assert kept.run("sessions", "list", "--json").out == before


# --- all of them ------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": (),
    "show": ("nobody",),
    "search": ("x",),
    "audit": ("nobody",),
    "export": ("nobody",),
    "import": ("nothing.jsonl",),
    "fork": ("nobody",),
    "edit": ("nobody", "--title", "x"),
    "delete": ("nobody", "-y"),
    "prune": ("--older-than", "1d", "-y"),
    "verify": (),
    "backup": ("b.db",),
    "restore": ("nothing.jsonl",),
}


def test_every_command_is_listed() -> None:
    from turnwise.frontends.cli.commands_sessions import sessions

    assert set(sessions.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_errors_are_json_if_that_is_asked_for(inside: Inside, command: str) -> None:
    """Of a store that cannot be used, or an argument that means nothing: one object on stderr, nothing on stdout."""
    (inside.folder / "nothing.jsonl").write_text("")
    inside.home.write_text("a file, where a folder is wanted")
    done = inside.run("sessions", command, *COMMANDS[command], "--json")
    assert done.code in (1, 2) and done.out == b""
    error: dict[str, Any] = json.loads(done.err)["error"]
    assert error["code"] and error["message"] and error["branch"] in ("state", "config")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(inside: Inside, command: str) -> None:
    done = inside.run("sessions", command, "--help")
    assert done.code == 0 and f"Usage: turnwise sessions {command}" in done.out.decode()
    assert not inside.home.exists(), "help touches nothing"


# --- audit ------------------------------------------------------------------------------------------------------------


def test_an_audit_for_people_and_programs(kept: Inside) -> None:
    """P4: a table, lines of JSON, a file; of one session or all."""

    async def decide(store: SqliteStore) -> None:
        async with Agent("anthropic:a-model", name="cli", store=store).session("plan", resume=True) as session:
            await session.set(temperature=0.5)
            await session.set(instructions="Be\tbrief.", by=Principal("local", "bob"))

    kept.store(decide)
    done = kept.run("sessions", "audit", "plan")
    cells = [line.split("\t") for line in done.lines]
    assert [(row[3], row[4], row[5], row[8]) for row in cells] == [
        ("settings", "changed", "local", "temperature=0.5"),
        ("settings", "changed", "bob", "instructions=Be brief."),
    ]
    first, second = kept.run("sessions", "audit", "plan", "--json").documents
    assert (first["kind"], first["detail"]) == ("settings", {"temperature": 0.5})
    assert kept.run("sessions", "audit", "--all", "--json").documents == [first, second]
    assert kept.run("sessions", "audit", "plan", "--kind", "verdict", "--json").documents == []
    assert kept.run("sessions", "audit", "plan", "--since", "1h", "--json").documents == [first, second]
    written = kept.run("sessions", "audit", "plan", "-o", "audit.jsonl")
    assert "audit.jsonl" in written.err and not written.out
    lines = (kept.folder / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [first, second]
    assert "Nothing was decided" in kept.run("sessions", "audit", ids(kept)["Why is the sky blue?"]).err
    assert kept.run("sessions", "audit", "plan", "--all").code == 2
