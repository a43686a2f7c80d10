"""`turnwise models`: the catalogue and what providers say live; as a table, as JSON, and when a provider fails."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from turnwise.frontends.cli.main import main

if TYPE_CHECKING:
    from .conftest import Cli


class Joining(http.server.ThreadingHTTPServer):
    """Waits for its threads when it is closed, so that none of them ends in another test."""

    daemon_threads = False


@contextmanager
def provider(
    body: object, status: int = 200, *, says: threading.Event | None = None, waits: threading.Event | None = None
) -> Generator[tuple[str, list[str]]]:
    """A provider that answers every GET so; its address, and the keys that it was shown. It sets `says` when it is asked, and
    waits for `waits` before it answers."""
    shown: list[str] = []
    data = json.dumps(body).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("x-api-key") or self.headers.get("authorization") or "")
            if says is not None:
                says.set()
            if waits is not None:
                waits.wait(20)
            with contextlib.suppress(ConnectionError):  # who asked may be gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with Joining(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}", shown
        finally:
            listening.shutdown()
            thread.join()


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_a_table_without_key_or_network(cli: Cli) -> None:
    done = cli.run("models", "claude", "SONNET-4-5", "-p", "anthropic")
    assert (done.returncode, done.stderr) == (0, b"")
    head, row = done.stdout.decode().splitlines()
    assert head.split("  ")[0] == "model"
    assert row.split() == [
        *("anthropic:claude-sonnet-4-5", "200k", "64k", "3+", "15+"),
        *("tools", "images", "docs", "reasoning", "json", "caching", "json+tools"),
    ]


def test_every_word_must_occur(cli: Cli) -> None:
    names = [line.split()[0] for line in cli.run("models", "gpt-5 mini", "openai").stdout.decode().splitlines()[1:]]
    assert "openai:gpt-5-mini" in names
    assert all("gpt-5" in name and "mini" in name and "openai" in name for name in names)


def test_json_lines(cli: Cli) -> None:
    done = cli.run("models", "--json", "-p", "openai", "gpt-5-mini")
    (line,) = [json.loads(line) for line in done.stdout.splitlines() if b'"openai:gpt-5-mini"' in line]
    assert (line["name"], line["provider"], line["model"]) == ("openai:gpt-5-mini", "openai", "gpt-5-mini")
    assert (line["context_window"], line["max_output_tokens"], line["source"]) == (400_000, 128_000, "genai-prices")
    assert line["prices"]["input_mtok"] == {"usd": "0.25"}, "an exact decimal, as text"
    assert line["capabilities"]["tools"] is True
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_matches(cli: Cli) -> None:
    done = cli.run("models", "no-such-model")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"No model matches.\n")
    done = cli.run("models", "no-such-model", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_unknown_provider(cli: Cli) -> None:
    done = cli.run("models", "-p", "antropic")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines() == ["Error: There is no provider 'antropic'.", "  Did you mean anthropic?"]


def test_without_the_extra(cli: Cli) -> None:
    """I1: our own table, and a note that says how to get more."""
    (cli.folder / "genai_prices.py").write_text("raise ModuleNotFoundError(name='genai_prices')\n")
    env = cli.environment()
    env["PYTHONPATH"] = f"{cli.folder}:{env['PYTHONPATH']}"
    done = cli.run("models", "-p", "anthropic", "opus-5-5", env=env)
    assert done.returncode == 0
    assert done.stdout.decode().splitlines()[1].split()[:5] == ["anthropic:claude-opus-5-5", "1M", "128k", "4", "20"]
    assert b"pip install 'turnwise[prices]'" in done.stderr


# --- live -------------------------------------------------------------------------------------------------------------


def test_providers_whose_key_is_set_are_asked(cli: Cli) -> None:
    """With their own key each, and what the catalogue knows is added."""
    ours = {"data": [{"id": "gpt-5-mini"}, {"id": "a-new-one"}]}
    theirs = {"data": [{"id": "claude-y", "display_name": "Claude Y", "max_input_tokens": 5000}], "has_more": False}
    with provider(ours) as (openai, one), provider(theirs) as (anthropic, other):
        env = cli.environment(
            OPENAI_API_KEY="key-1", OPENAI_BASE_URL=openai, ANTHROPIC_API_KEY="key-2", ANTHROPIC_BASE_URL=anthropic
        )
        done = cli.run("models", "--remote", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [line.split() for line in done.stdout.decode().splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["anthropic:claude-y", "5k", "-"],
        ["openai:a-new-one", "-", "-"],
        ["openai:gpt-5-mini", "400k", "128k"],
    ]
    assert (one, other) == (["Bearer key-1"], ["key-2"])


def test_only_the_provider_named(cli: Cli) -> None:
    with provider({"data": [{"id": "x"}]}) as (openai, shown), provider({}) as (anthropic, unasked):
        env = cli.environment(
            OPENAI_API_KEY="k", OPENAI_BASE_URL=openai, ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=anthropic
        )
        done = cli.run("models", "--remote", "--json", "-p", "openai", env=env)
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["openai:x"]
    assert (len(shown), unasked) == (1, [])


def test_one_that_fails_is_named_and_the_rest_is_shown(cli: Cli) -> None:
    refusal = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    with provider({"data": [{"id": "x"}]}) as (openai, _), provider(refusal, 401) as (anthropic, _):
        env = cli.environment(
            OPENAI_API_KEY="k", OPENAI_BASE_URL=openai, ANTHROPIC_API_KEY="topsecret", ANTHROPIC_BASE_URL=anthropic
        )
        done = cli.run("models", "--remote", env=env)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == ["model", "openai:x"]
    assert done.stderr.decode().splitlines()[0] == "Error: anthropic: invalid x-api-key"
    assert b"topsecret" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("-p", "openai"), 1, b"openai: "),
        (("-p", "anthropic"), 2, b"anthropic: There is no API key for Anthropic."),
        (("-p", "anthropic", "-p", "openai"), 2, b"openai: "),
    ],
)
def test_if_all_fail_so_does_the_program(cli: Cli, args: tuple[str, ...], code: int, told: bytes) -> None:
    with provider("no", 500) as (openai, _):
        done = cli.run("models", "--remote", *args, env=cli.environment(OPENAI_API_KEY="k", OPENAI_BASE_URL=openai))
    assert (done.returncode, done.stdout) == (code, b"")
    assert told in done.stderr and b"No model matches" not in done.stderr


def test_nobody_to_ask(cli: Cli) -> None:
    done = cli.run("models", "--remote")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Error: No provider's key is set")


def test_all_are_asked_at_the_same_time(cli: Cli) -> None:
    """The one that is named first answers only when the other one has been asked."""
    asked = threading.Event()
    with (
        provider({"data": [{"id": "y"}]}, waits=asked) as (anthropic, _),
        provider({"data": [{"id": "x"}]}, says=asked) as (openai, _),
    ):
        env = cli.environment(
            OPENAI_API_KEY="k", OPENAI_BASE_URL=openai, ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=anthropic
        )
        done = cli.run("models", "--remote", "--json", "-p", "anthropic", "-p", "openai", env=env)
    assert done.stderr == b""
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["anthropic:y", "openai:x"]


def test_a_silent_provider_is_given_up(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    over = threading.Event()
    with provider({"data": [{"id": "slow"}]}, waits=over) as (anthropic, _):
        with provider({"data": [{"id": "x"}]}) as (openai, _):
            monkeypatch.setattr("turnwise.frontends.cli.models.ASK_S", 0.3)
            for name, value in (("OPENAI", openai), ("ANTHROPIC", anthropic)):
                monkeypatch.setenv(f"{name}_API_KEY", "k")
                monkeypatch.setenv(f"{name}_BASE_URL", value)
            code = main(["models", "--remote", "-p", "anthropic", "-p", "openai"])
        over.set()
    shown = capfd.readouterr()
    assert code == 0 and "openai:x" in shown.out and "slow" not in shown.out
    assert "anthropic: Anthropic has not answered within 0.3 s." in shown.err


def test_what_a_provider_says_cannot_control_the_terminal(cli: Cli) -> None:
    with provider({"data": [{"id": "evil\x1b[2J\nopenai:fake"}]}) as (openai, _):
        env = cli.environment(OPENAI_API_KEY="k", OPENAI_BASE_URL=openai, NO_COLOR="1")
        shown = cli.terminal("models", "--remote", env=env).read_to_end()
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2 and "evil␛[2J openai:fake" in shown
