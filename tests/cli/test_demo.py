"""`turnwise demo`: no key, no network, any folder; scripted model, everything else real."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Cli


def assert_whole(shown: str) -> None:
    """Two tools at once, an interrupt while a tool runs, a continuation, and the account of it all."""
    assert "The model is scripted" in shown
    started = [shown.index(f"→ t1.s1.c{i} read_file") for i in (0, 1)]
    ended = [shown.index(f"✓ t1.s1.c{i} read_file") for i in (0, 1)]
    assert max(started) < min(ended)
    assert shown.index("→ t2.s1.c0 wait_for_change") < shown.index("session.interrupt()")
    assert shown.index("session.interrupt()") < shown.index("✗ t2.s1.c0 wait_for_change: The call was cancelled")
    assert "My history says of it: “The call was cancelled: the turn was interrupted.”" in shown
    assert re.findall(r"^  (t\d)  .* (\w+)$", shown, re.MULTILINE) == [
        ("t1", "completed"),
        ("t2", "interrupted"),
        ("t3", "completed"),
    ]
    assert re.findall(r"^  (t\d\.s\d\.c\d)  .* (\w+)$", shown, re.MULTILINE) == [
        ("t1.s1.c0", "ok"),
        ("t1.s1.c1", "ok"),
        ("t2.s1.c0", "cancelled"),
    ]
    assert len(re.findall(r"^  t\d\.s\d +[\d.]+ s +[\d.]+ s +\d+ +\d+ ", shown, re.MULTILINE)) == 4
    assert re.search(r"^  turn\.started 3 ", shown, re.MULTILINE) and "tool.finished 3" in shown


def test_in_a_folder_without_files(cli: Cli) -> None:
    done = cli.run("demo")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    assert_whole(shown)
    assert "\x1b" not in shown
    assert "two were made in a temporary folder" in shown
    assert "harbour.txt has 2 lines" in shown
    assert list(cli.folder.iterdir()) == []


def test_it_reads_the_files_that_are_there(cli: Cli) -> None:
    """What the model says of them comes from what the tools read."""
    (cli.folder / "README.md").write_text("# The pelican's diary\n\nDay one: fish.\n")
    (cli.folder / "odd.bin").write_bytes(b"\xff\x00" * 100)
    (cli.folder / ".secret.txt").write_text("hidden")
    (cli.folder / "plan.txt").write_text("More fish.\n")
    done = cli.run("demo")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    assert_whole(shown)
    assert "README.md has 3 lines and begins with “The pelican's diary”." in shown
    assert "plan.txt has one line and begins with “More fish.”." in shown
    assert "temporary" not in shown and "secret" not in shown


def test_on_a_terminal(cli: Cli) -> None:
    terminal = cli.terminal("demo", env=cli.environment())
    shown = terminal.read_to_end()
    assert terminal.process.returncode == 0
    assert "\x1b[1mTurnwise demo\x1b[0m" in shown
    assert_whole(re.sub(r"\x1b\[\d+m", "", shown))


def test_the_demo_works_behind_a_proxy(cli: Cli) -> None:
    """Nothing of it leaves the machine, so no proxy is asked."""
    proxy = "http://127.0.0.1:9"
    done = cli.run("demo", env=cli.environment(HTTP_PROXY=proxy, http_proxy=proxy))
    assert (done.returncode, done.stderr) == (0, b"")
    assert_whole(done.stdout.decode())


def test_keys_and_addresses_of_the_environment_do_not_matter(cli: Cli) -> None:
    env = cli.environment(ANTHROPIC_API_KEY="real-key", ANTHROPIC_BASE_URL="http://192.0.2.1", TURNWISE_MODEL="x:y")
    done = cli.run("demo", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"real-key" not in done.stdout


def test_ctrl_c_ends_it(cli: Cli) -> None:
    terminal = cli.terminal("demo", env=cli.environment())
    terminal.read_until(b"I will")
    terminal.type(b"\x03")
    terminal.read_to_end()
    assert terminal.process.returncode == 130
    assert b"Traceback" not in terminal.seen
