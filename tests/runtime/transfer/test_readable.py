"""Exports for people: all that was said is there, and nothing that was said can do anything to whoever reads it."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from tests.examples import examples
from tests.runtime.transfer.journals import PNG, journals, put, rich

from turnwise.core.content import BlobRef, Image, Text, ToolCall
from turnwise.core.entries import Entry, SessionCreated
from turnwise.core.messages import AssistantMessage, ToolMessage, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.principal import LOCAL
from turnwise.runtime.transfer import markdown
from turnwise.runtime.transfer.export import export_session
from turnwise.store.memory import MemoryStore

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "dl", "dt", "dd", "article", "small"),
    *("div", "p", "pre", "code", "details", "summary", "img", "audio", "time", "footer"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "dir", "open", "alt", "src", "controls"),
}
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


async def page_of(store: MemoryStore, format: Any, session: str = "s1") -> str:
    return b"".join([piece async for piece in export_session(store, session, format=format)]).decode()


async def test_html_tells_all_that_was_said() -> None:
    store = MemoryStore()
    await rich(store)
    page = Page(await page_of(store, "html"))
    for said in ("What is <this>?", "Let me <think>.", '{"at": "<x>"}', "seen", "no such </pre> place", "Be quick."):
        assert said in page.text, said
    for said in ("A dot.", "In short: dots.", "And now?", "Half a sen", "Cut off here.", "Dots & <dashes>", "a.pdf"):
        assert said in page.text, said
    assert "Forget me." not in page.text and "Never said." not in page.text  # taken back
    where = [
        page.text.index(said) for said in ("I shall look.", '{"at"', "seen", "no such </pre>", "Be quick.", "A dot.")
    ]
    assert where == sorted(where), "a result stands with its call, a steer behind the step"


async def test_html_holds_its_images_and_loads_nothing() -> None:
    store = MemoryStore()
    await rich(store)
    page = Page(await page_of(store, "html"))
    sources = [value for _, name, value in page.attributes if name == "src"]
    assert len(sources) == 3 and all(source.startswith("data:") for source in sources)
    assert f"data:image/png;base64,{b64encode(PNG).decode()}" in sources
    assert "http://192.0.2.1/x.png" in page.text, "what lies elsewhere is named"
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy


async def test_what_an_attachment_is_called_stays_in_its_attribute() -> None:
    """A media type that says more than it should is not shown; a name is text."""
    from turnwise.core.content import Document

    store = MemoryStore()
    name = await store.blobs("local").put(b"x")
    odd = Image(BlobRef(name, 1, 'image/png" onerror="alert(1)'))
    named = Document(BlobRef(name, 1, "application/pdf"), '"><script>alert(1)</script>')
    await put(store, [SessionCreated("s1", LOCAL, 1.0, (UserMessage((odd, named), 1),))], title='" onload="x')
    page = await page_of(store, "html")
    parsed = Page(page)
    assert not parsed.found["img"] and not parsed.found["script"]
    assert '"><script>' not in page and 'png" onerror' not in page and '" onload="' not in page


@given(journal=journals())
@examples(120)
def test_nothing_that_was_said_becomes_html(journal: list[Entry]) -> None:
    """Whatever it is, it stays text: elements and attributes are ours, everything is closed, all of it can be read."""

    async def written() -> str:
        store = MemoryStore()
        await put(store, journal, title="<script>alert(1)</script>", folder='"><img src=x>', tags=("</title>",))
        return await page_of(store, "html")

    whole = asyncio.run(written())
    page = Page(whole)
    assert set(page.found) <= TAGS and page.found["meta"] == 4 and not page.open
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    assert not page.found["img"] and not page.found["audio"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", whole)
    for entry in journal:
        message = getattr(entry, "message", None)
        if isinstance(message, UserMessage) and message.text.isprintable():
            assert message.text in page.text


async def test_markdown_tells_all_that_was_said() -> None:
    store = MemoryStore()
    await rich(store)
    page = await page_of(store, "markdown")
    for said in (
        "> What is &lt;this>?",
        "> Let me &lt;think>.",
        '{"at": "<x>"}',
        "seen",
        "no such </pre> place",
        "> A dot.",
    ):
        assert said in page, said
    assert "Forget me." not in page
    assert page.startswith("# Dots \\& \\<dashes\\>\n")


async def test_what_a_file_is_said_to_be_is_no_html_in_markdown() -> None:
    """P7: an import brings the media types that its writer wished for, those of whole texts, too."""
    store = MemoryStore()
    ref = BlobRef("0" * 64, 1, "<script>x</script>*")
    said = AssistantMessage((ToolCall("c", "look", "{}"),), 1)
    result = ToolResult("c", (Image(ref), Text("the beginning")), artifact=ref)
    await put(store, [SessionCreated("s1", LOCAL, 1.0, (UserMessage("?", 1), said, ToolMessage((result,), 1)))])
    page = await page_of(store, "markdown")
    assert page.count("script") == 4 and "<script" not in page.replace("\\<", "")


async def test_plain_text_tells_all_that_was_said_and_controls_no_terminal() -> None:
    store = MemoryStore()
    await rich(store)
    page = await page_of(store, "text")
    for said in ("  What is <this>?", "Let me <think>.", '→ look {"at": "<x>"}', "seen", "(The tool failed:", "A dot."):
        assert said in page, said
    assert "Forget me." not in page
    await put(store, [SessionCreated("s2", LOCAL, 1.0, (UserMessage("a\x1b[2Jb\rc\x9bd", 1),))], title="\x1b]0;x\x07")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", await page_of(store, "text", "s2"))


@given(journal=journals())
@examples(120)
def test_nothing_that_was_said_leaves_its_place_in_markdown(journal: list[Entry]) -> None:
    """Every line is one of ours, one of a quote, or one of a code block that only its own fence ends."""

    async def written() -> str:
        store = MemoryStore()
        await put(store, journal, title="# <b>\n\n## Turn 9", tags=("`x`", "![x](y)"))
        return await page_of(store, "markdown")

    fence = ""
    for one in asyncio.run(written()).split("\n"):
        if fence:
            fence = "" if one == fence else fence
        elif found := re.match(r"(`{3,})(json|text)\Z", one):
            fence = found[1]
        elif not one.startswith(">"):
            assert re.fullmatch(OURS, one), one
    assert not fence


OURS = (
    r"|# \S.*|## Turn \d+( \(\S+ \S+ UTC\))?|### (User|Assistant).*|- [A-Z][a-z ]+: `.*`|\*\*Call\*\* .*|\*.+\*|---"
    r"|<details><summary>(Thinking|Details)</summary>|</details>"
)


HOSTILE = [
    "<script>x</script>",
    "a `<b>` c",
    " ```\n```\n<script>",
    "- ```\n  <b>\n  ```\n<script>",
    "> ```\n<b>\n> ```",
    "~~~\n\t~~~\n<script>\n~~~",
    "```\n    ```\n<script>",
    "```\n   ```\n<script>",
    "    ```\n<b>\n",
    "``` a`b\n<b>",
    "````\n```\n````\n<b>",
    "1. x\n   ~~~\n   <b>\n```\n<script>",
    "```\nfine\n``` \t\n<b>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_html_in_markdown_stands_in_code_or_not_at_all(text: str) -> None:
    """Where a reader of Markdown may not see a code block, nothing is taken for one: of an indented fence it is not clear what it opens,
    or closes."""
    assert "<" not in markdown.quote(text)


def test_a_code_block_ends_where_we_end_it() -> None:
    assert markdown.fenced("a\n```\n# b", "text") == "````text\na\n```\n# b\n````\n"


def test_code_keeps_its_form_in_markdown() -> None:
    code = "See:\n```html\n<b>![x](y)</b>\n```\nDone."
    assert markdown.quote(code) == "".join([f"> {line}\n" for line in code.split("\n")])


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("![x](http://192.0.2.1/t.png)", "!\\[x](http://192.0.2.1/t.png)"),
        ("[x](javascript:alert(1))", "[x]\\(javascript:alert(1))"),
        ("[x](java&#115;cript&colon;alert(1))", "[x]\\(java&#115;cript&colon;alert(1))"),
        ("[x]( DATA:text/html,x)", "[x]\\( DATA:text/html,x)"),
        ("[x]: vbscript:y", "[x]\\: vbscript:y"),
        ("[x](https://example.com/a)", "[x](https://example.com/a)"),
        ("[x](#there) d[k]: int", "[x](#there) d[k]: int"),
    ],
)
def test_links_and_images_in_markdown(text: str, quoted: str) -> None:
    assert markdown.quote(text) == f"> {quoted}\n"


async def test_a_fork_and_what_was_handed_in_are_told() -> None:
    store = MemoryStore()
    await put(store, [SessionCreated("s1", LOCAL, 1.0, (UserMessage("Earlier.", 1),), "s0")])
    for format in ("markdown", "html"):
        page = await page_of(store, format)
        assert "Earlier." in page and "Forked from session s0" in page.replace("\\", "")
