"""The registry: one name is one tool, views choose and share, and a choice that is empty leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Agent, Tool, Tools, tool
from turnwise.errors import ConfigError
from turnwise.testing import ScriptedProvider, call, reply
from turnwise.tools import ask_user, read_artifact


@tool(category="mail", tags=["out", "slow"], permission="network")
def send_mail(to: str) -> str:
    """Send a letter."""
    return to


@tool(category="mail", tags="in", read_only=True)
def readMail() -> str:
    """Look into the mailbox."""
    return "empty"


@tool(category="files", permission="write")
def write_file(path: str) -> str:
    """Put text into a file on the disk."""
    return path


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def all_of_them() -> Tools:
    return Tools(send_mail, [readMail, write_file], add)


def test_tools_are_in_the_order_in_which_they_were_added() -> None:
    tools = all_of_them()
    assert tools.names == ("send_mail", "readMail", "write_file", "add")
    assert [one.name for one in tools] == list(tools.names)
    assert len(tools) == 4
    assert tools["readMail"] is readMail
    assert readMail in tools and "add" in tools and "nothing" not in tools
    assert repr(tools) == "Tools(send_mail, readMail, write_file, add)"


def test_two_of_one_name_are_an_error_unless_one_is_to_take_its_place() -> None:
    tools = all_of_them()
    other = tool(add, name="send_mail", category="sums")
    with pytest.raises(ConfigError) as raised:
        tools.add(tool(add, name="fresh"), other)
    assert raised.value.code == "duplicate_tool"
    assert "fresh" not in tools, "all or none"
    assert tools["send_mail"] is send_mail
    tools.add(send_mail)  # the very same is no other one
    tools.add(other, replace=True)
    assert tools["send_mail"] is other
    assert tools.names[0] == "send_mail", "it has the place of the one before"
    assert "send_mail" not in [one.name for one in tools.by_category()["mail"]]
    assert [one.name for one in tools.by_category()["sums"]] == ["send_mail"]
    with pytest.raises(ConfigError, match="Two tools"):
        Tools(add, tool(add))
    assert len(Tools(add, tool(add), replace=True)) == 1


def test_categories_are_an_index_of_what_is_there() -> None:
    tools = all_of_them()
    made = tools.by_category()
    assert list(made) == ["", "files", "mail"]
    assert made["mail"] == (send_mail, readMail)
    tools.remove("write_file")
    assert "files" not in tools.by_category()
    made.clear()
    assert tools.by_category(), "what was given out is not the index"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"category": "mail"}, ["send_mail", "readMail"]),
        ({"category": ["mail", "files"]}, ["send_mail", "readMail", "write_file"]),
        ({"tag": "slow"}, ["send_mail"]),
        ({"tag": ("in", "slow")}, ["send_mail", "readMail"]),
        ({"permission": "read"}, ["readMail"]),
        ({"permission": ("read", "write")}, ["readMail", "write_file"]),
        ({"category": "mail", "permission": "read"}, ["readMail"]),
        ({"category": "nothing"}, []),
        ({"category": ()}, []),
        ({"category": (), "permission": "read"}, []),
        ({"tag": (), "category": "mail"}, []),
        ({}, []),
    ],
)
def test_only_keeps_what_fits_everything(choice: dict[str, Any], names: list[str]) -> None:
    """P1: a choice of nothing is nothing, and what does not say what it may do is not taken for harmless."""
    assert [one.name for one in all_of_them().only(**choice)] == names


def test_names_may_be_patterns() -> None:
    tools = all_of_them()
    assert tools.only("*_mail", "add").names == ("send_mail", "add")
    assert tools.only("*ail", category="mail", tag="in").names == ("readMail",)
    assert tools.without("*ail").names == ("write_file", "add")
    assert tools.without("zzz*").names == tools.names
    assert tools.only(*()).names == ()


def test_without_leaves_out_what_fits_anything() -> None:
    tools = all_of_them()
    assert tools.without("add", category="mail").names == ("write_file",)
    assert tools.without(permission=["network", "write"]).names == ("readMail", "add")
    assert tools.without(tag="out").names == ("readMail", "write_file", "add")
    assert tools.without().names == tools.names


def test_views_share_the_tools_and_nothing_else() -> None:
    tools = all_of_them()
    view = tools.only(category="mail")
    assert view["send_mail"] is send_mail
    view.add(add)
    tools.remove("send_mail")
    assert view.names == ("send_mail", "readMail", "add")
    assert "add" in tools and "send_mail" not in tools


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    tools = all_of_them()
    for wrong in (lambda: tools["send_mial"], lambda: tools.only("send_mial"), lambda: tools.without("send_mial")):
        with pytest.raises(ConfigError) as raised:
            wrong()
        assert raised.value.code == "unknown_tool"
        assert "'send_mail'" in raised.value.hint
    with pytest.raises(ConfigError, match="permission='reed'"):
        tools.only(permission="reed")  # pyright: ignore[reportArgumentType]


def test_builtin_tools_are_offered_by_name() -> None:
    assert Tools.builtin().names == ("ask_user", "read_artifact")
    assert list(Tools.builtin("read_artifact")) == [read_artifact]
    assert Tools.builtin("ask_user")["ask_user"] is ask_user
    with pytest.raises(ConfigError) as raised:
        Tools.builtin("ask_users", "nothing")
    assert raised.value.code == "unknown_tool"
    assert "'ask_user'" in raised.value.hint and "'nothing'" in raised.value.message


def test_searching_ranks_names_over_descriptions() -> None:
    tools = all_of_them()
    assert [one.name for one in tools.search("mail")] == ["send_mail", "readMail"]
    assert [one.name for one in tools.search("read mail")] == ["readMail", "send_mail"]
    assert [one.name for one in tools.search("FILE disk")] == ["write_file"]
    assert [one.name for one in tools.search("slow")] == ["send_mail"]
    assert tools.search("xylophone") == []
    assert len(tools.search("")) == 4
    assert len(tools.search("mail", limit=1)) == 1


@given(st.text(max_size=40))
def test_searching_never_fails_and_never_invents(text: str) -> None:
    tools = all_of_them()
    found = tools.search(text)
    assert len({one.name for one in found}) == len(found)
    assert all(one in tools for one in found)
    assert found == tools.search(text)


@pytest.mark.parametrize("given", ["send_mail", 3, None, {"a": 1}])
def test_what_is_no_tool_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        Tools(given)
    assert raised.value.code == "bad_tool"


def test_permission_classes_are_checked_and_follow_from_reading() -> None:
    assert readMail.permission == "read"
    assert tool(add).permission is None
    assert tool(add, read_only=True, permission="network").permission == "network"
    with pytest.raises(ConfigError, match="permission='wriet'"):
        tool(add, permission="wriet")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="read_only"):
        tool(add, read_only=True, permission="write")
    outside = Tool.external("order", "Order.", {"type": "object"}, category="shop", tags=["a"], permission="network")
    assert (outside.category, outside.tags, outside.permission) == ("shop", ("a",), "network")


async def test_agents_and_sessions_take_them() -> None:
    async with ScriptedProvider([reply(call("add", a=1, b=2)), reply("3"), reply("none")]) as provider:
        tools = Tools(add, send_mail)
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=tools)
        async with agent.session() as session:
            assert (await session.run("1 + 2?")).text == "3"
            await session.set(tools=tools.only("send_mail"))
            await session.run("and now?")
            names = [[t["name"] for t in request.body["tools"]] for request in provider.requests]
            assert names == [["add", "send_mail"], ["add", "send_mail"], ["send_mail"]]
            assert session.settings.tools == ("send_mail",)
