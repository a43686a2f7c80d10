"""AWS Bedrock: where it is and who asks. Signatures are judged by botocore, credentials come from real files and processes."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore import auth as botocore_auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

import turnwise.models.bedrock as bedrock
from turnwise import Agent, Runtime, tool
from turnwise.core.errors import ConfigError
from turnwise.models.auth import Endpoint, Outgoing
from turnwise.models.connection import Model
from turnwise.models.handle import resolve_model
from turnwise.models.hosts import HOSTS
from turnwise.runtime.blocking import ThreadPool
from turnwise.testing import ScriptedProvider, call, fail, reply, think
from turnwise.testing.loopback import Connection, HttpReceived, LoopbackServer
from turnwise.wire.serve import ApiError, Exchange, Response, TextPart, serve_codec

HOST = HOSTS["bedrock"]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE_ARN = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/mi1dadi0g15f"
KEYS = {"bedrock_access_key_id": "AKIDCODE", "bedrock_secret_access_key": "secret/code+"}
SERVE = serve_codec("bedrock.converse")
NOW = 1_760_000_000.0


def endpoint(model: str = CLAUDE, environ: Mapping[str, str] | None = None, **connection: Any) -> Endpoint:
    return bedrock.endpoint(HOST, model, {"AWS_REGION": "us-east-1"} if environ is None else environ, connection)


def missing(
    field: str, model: str = CLAUDE, environ: Mapping[str, str] | None = None, **connection: Any
) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        endpoint(model, environ, **connection)
    assert (error.value.code, error.value.info.detail) == ("missing_config", field)
    assert field in error.value.message
    return error.value


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and nothing of the machine's own configuration; instances are not asked for roles."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path


def write(home: Path, name: str, text: str) -> Path:
    path = home / ".aws" / name
    path.write_text(text)
    return path


# --- a provider that checks signatures ---


class Aws:
    """What a server saw: each request's path, and the key and region that its signature is right for (or why it is not)."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = secrets
        self.seen: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.url = ""

    async def handle(self, connection: Connection, received: HttpReceived) -> None:
        verdict = self.verdict(received)
        self.seen.append((received.path, verdict))
        self.tokens.append(received.headers.get("x-amz-security-token"))
        if verdict.startswith("wrong"):
            error = ApiError(403, verdict, "InvalidSignatureException")
            body = SERVE.error_body(error, Exchange(1, "m"))
            headers = {"content-type": "application/json", **SERVE.error_headers(error)}
            connection.start(403, headers, len(body))
        else:
            body = b"".join(SERVE.stream(Response((TextPart(("Hel", "lo")),)), Exchange(1, "m")))
            connection.start(200, {"content-type": SERVE.stream_type}, len(body))
        await connection.send(body)
        connection.end()

    def verdict(self, received: HttpReceived) -> str:
        said = received.headers.get("authorization", "")
        if said.startswith("Bearer "):
            return said
        scope = said.partition("Credential=")[2].partition(",")[0].split("/")
        if len(scope) != 5 or scope[0] not in self.secrets:
            return f"wrong: unknown key in {said}"
        signed = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        kept = {n: received.headers[n] for n in signed if n not in ("x-amz-date", "x-amz-security-token", "host")}
        token = received.headers.get("x-amz-security-token")
        request = AWSRequest(received.method, f"http://{received.headers['host']}{received.path}", kept, received.body)
        signer = SigV4Auth(BotocoreCredentials(scope[0], self.secrets[scope[0]], token), "bedrock", scope[2])
        at = datetime.datetime.strptime(received.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore_auth, "get_current_datetime", lambda: at)
            signer.add_auth(request)
        right = request.headers["Authorization"] == said
        return f"{scope[0]} in {scope[2]}" if right else f"wrong: not {request.headers['Authorization']}"


@asynccontextmanager
async def aws(**secrets: str) -> AsyncIterator[Aws]:
    made = Aws({"AKIDCODE": "secret/code+", **secrets})
    server = LoopbackServer(made.handle)
    made.url = f"http://127.0.0.1:{await server.open()}"
    try:
        yield made
    finally:
        await server.close()


async def ask(server: Aws, environ: Mapping[str, str], model: str = CLAUDE, **connection: Any) -> str:
    """One turn over a real connection; its text."""
    async with Runtime(environ=environ) as runtime:
        agent = Agent(Model(f"bedrock:{model}", base_url=server.url, **connection), runtime=runtime)
        return (await agent.run("Hi? " * 20_000)).text


@pytest.mark.parametrize("model", [CLAUDE, PROFILE_ARN, "amazon.titan-text-lite-v1"])
@pytest.mark.parametrize("token", [None, "session/token=="])
async def test_a_signed_turn(model: str, token: str | None) -> None:
    """The signature covers the path as it is sent, names with colons and slashes included, and a body sent in parts."""
    async with aws() as server:
        given = {**KEYS, "bedrock_region": "us-east-1", **({"bedrock_session_token": token} if token else {})}
        assert await ask(server, {}, model, **given) == "Hello"
        ((path, verdict),) = server.seen
        assert verdict == "AKIDCODE in us-east-1" and server.tokens == [token]
        assert path.endswith("/converse-stream") and path.count("/") == 3


async def test_a_wrong_secret_is_told() -> None:
    async with aws() as server:
        given = {**KEYS, "bedrock_secret_access_key": "zq9-not-it", "bedrock_region": "us-east-1"}
        with pytest.raises(Exception) as error:
            await ask(server, {}, **given)
        assert getattr(error.value, "code", "") == "auth"
        assert "zq9-not-it" not in str(error.value)


async def test_keys_in_the_environment() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIDENV",
        "AWS_SECRET_ACCESS_KEY": "env",
        "AWS_SESSION_TOKEN": "t",
        "AWS_DEFAULT_REGION": "ap-south-1",
    }
    async with aws(AKIDENV="env") as server:
        assert await ask(server, environ) == "Hello"
        assert await ask(server, environ, **KEYS) == "Hello"
        assert [v for _, v in server.seen] == ["AKIDENV in ap-south-1", "AKIDCODE in ap-south-1"]
        assert server.tokens == ["t", None]


async def test_keys_for_bedrock() -> None:
    """A bearer token, in code or in the environment; no signature."""
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    async with aws() as server:
        assert await ask(server, environ) == "Hello"
        assert await ask(server, environ, api_key="mine") == "Hello"
        assert await ask(server, environ, bedrock_region="us-east-1", **KEYS) == "Hello"
        said = [v for _, v in server.seen]
    assert said == ["Bearer bedrock-api-key", "Bearer mine", "AKIDCODE in us-east-1"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_conversation(stream: bool) -> None:
    """Through the runtime: tools in parallel, a retry, cache points; every request keeps the rules."""

    @tool
    async def weather(city: str) -> str:
        return f"Sun in {city}. " * 200

    script = [
        reply(
            think("Hm.", signature="c2VhbA=="), "Looking.", call("weather", city="Oslo"), call("weather", city="Rome")
        ),
        fail(429, "Too many requests, please wait before trying again.", headers={"retry-after": "0"}),
        reply("Sunny."),
        reply("Bye."),
    ]
    async with ScriptedProvider(script) as provider, Runtime(environ={}) as runtime:
        model = Model(f"bedrock:{CLAUDE}", base_url=provider.url, bedrock_region="us-east-1", **KEYS)
        session = Agent(
            model, tools=[weather], instructions="Be brief. " * 300, stream=stream, runtime=runtime
        ).session()
        assert (await session.run("Weather?")).text == "Sunny."
        assert (await session.run("Thanks.")).text == "Bye."
        end = "converse-stream" if stream else "converse"
        assert {r.path for r in provider.requests} == {f"/model/{CLAUDE}/{end}"}
        assert all(not r.problems for r in provider.requests)
        first, again, retried, last = [r.body for r in provider.requests]
        assert again == retried and retried["messages"][0] == first["messages"][0]
        kinds = [next(iter(b)) for b in retried["messages"][1]["content"]]
        assert kinds == ["reasoningContent", "text", "toolUse", "toolUse"]
        assert json.dumps(last).count("cachePoint") == 4


# --- the chain ---

CREDENTIALS = """
[default]
aws_access_key_id = AKIDFILE
aws_secret_access_key = file
[work]
aws_access_key_id = AKIDWORK
aws_secret_access_key = work
aws_session_token = work-token
"""
CONFIG = "[default]\nregion = us-west-2\n[profile work]\nregion = eu-west-1\n"


async def test_shared_files(home: Path) -> None:
    """The default profile, one named by a variable, one named in code; each with its region."""
    write(home, "credentials", CREDENTIALS)
    write(home, "config", CONFIG)
    async with aws(AKIDFILE="file", AKIDWORK="work") as server:
        assert await ask(server, {"HOME": str(home)}) == "Hello"
        assert await ask(server, {"HOME": str(home), "AWS_PROFILE": "work"}) == "Hello"
        both = {
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "S",
            "AWS_BEARER_TOKEN_BEDROCK": "b",
        }
        assert await ask(server, both, bedrock_profile="work") == "Hello"
        assert [v for _, v in server.seen] == ["AKIDFILE in us-west-2", *["AKIDWORK in eu-west-1"] * 2]
        assert server.tokens == [None, "work-token", "work-token"]


async def test_files_elsewhere(home: Path) -> None:
    files = {
        "AWS_SHARED_CREDENTIALS_FILE": str(write(home, "elsewhere", CREDENTIALS)),
        "AWS_CONFIG_FILE": str(write(home, "config-elsewhere", CONFIG)),
    }
    async with aws(AKIDFILE="file") as server:
        assert await ask(server, files) == "Hello"
        assert server.seen[0][1] == "AKIDFILE in us-west-2"


async def test_the_environment_is_the_one_handed_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process's own variables say of keys, region, profile and files counts for nothing."""
    write(home, "credentials", CREDENTIALS)
    write(home, "config", CONFIG)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIDPROCESS"),
        ("AWS_SECRET_ACCESS_KEY", "process"),
        ("AWS_PROFILE", "nobody"),
        ("AWS_DEFAULT_REGION", "sa-east-1"),
        ("AWS_CONFIG_FILE", "/does/not/exist"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/does/not/exist"),
    ):
        monkeypatch.setenv(name, value)
    async with aws(AKIDFILE="file") as server:
        assert await ask(server, {"HOME": str(home)}) == "Hello"
        assert server.seen[0][1] == "AKIDFILE in us-west-2"


def process(home: Path, lifetime_s: int) -> Path:
    """A profile whose keys come from a program; a file counts how often it ran."""
    counter = home / "runs"
    script = write(
        home,
        "process.py",
        f"""
import datetime, json, pathlib
runs = pathlib.Path({str(counter)!r})
n = len(runs.read_text()) if runs.exists() else 0
runs.write_text("x" * (n + 1))
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={lifetime_s})
print(json.dumps({{"Version": 1, "AccessKeyId": f"AKIDRUN{{n + 1}}", "SecretAccessKey": "run", "SessionToken": "t",
                  "Expiration": until.isoformat()}}))
""",
    )
    write(home, "config", f"[default]\nregion = us-west-2\ncredential_process = {sys.executable} {script}\n")
    return counter


async def header(made: Endpoint, pool: ThreadPool) -> str:
    assert made.auth is not None
    request = Outgoing("POST", f"{made.base_url}/model/x/converse", {}, (b"{}",))
    found = await made.auth.headers(request, pool, NOW)
    return found["authorization"].partition("Credential=")[2].partition("/")[0]


async def test_a_process_is_asked_once_however_many_wait(home: Path) -> None:
    counter = process(home, 3600)
    made, pool = endpoint(environ={"HOME": str(home)}), ThreadPool()
    try:
        assert await asyncio.gather(*[header(made, pool) for _ in range(8)]) == ["AKIDRUN1"] * 8
        assert await header(made, pool) == "AKIDRUN1"
        assert counter.read_text() == "x"
    finally:
        await pool.close()


async def test_credentials_are_renewed_before_they_expire(home: Path) -> None:
    """Within a quarter of an hour of their end."""
    counter = process(home, 600)
    made, pool = endpoint(environ={"HOME": str(home)}), ThreadPool()
    try:
        first = await header(made, pool)
        assert await header(made, pool) > first
        assert len(counter.read_text()) > 1
    finally:
        await pool.close()


async def test_a_request_that_is_cancelled_leaves_the_others_alone(home: Path) -> None:
    counter = process(home, 3600)
    made, pool = endpoint(environ={"HOME": str(home)}), ThreadPool()
    try:
        given_up = asyncio.ensure_future(header(made, pool))
        other = asyncio.ensure_future(header(made, pool))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await other == "AKIDRUN1"
        assert counter.read_text() == "x"
    finally:
        await pool.close()


@pytest.mark.parametrize(
    "config",
    ["", *[f"[default]\ncredential_process = {program}\n" for program in ("/does/not/exist", "false", "echo {}")]],
)
async def test_nothing_found(home: Path, config: str) -> None:
    """A typed error that names the field, and no request is sent."""
    write(home, "config", config)
    async with aws() as server:
        with pytest.raises(ConfigError) as error:
            await ask(server, {"HOME": str(home), "AWS_REGION": "us-east-1"})
        assert (error.value.code, error.value.info.detail) == ("missing_config", "bedrock_access_key_id")
        assert not error.value.retryable and server.seen == []


def test_a_profile_that_is_not_there(home: Path) -> None:
    assert "nobody" in missing("bedrock_region", environ={"HOME": str(home)}, bedrock_profile="nobody").hint


# --- before any I/O ---


@pytest.mark.parametrize("without", ["bedrock_access_key_id", "bedrock_secret_access_key"])
def test_half_a_pair_of_keys_is_refused(without: str) -> None:
    given = {**KEYS, "bedrock_session_token": "t"}
    del given[without]
    missing(without, **given)
    missing("bedrock_access_key_id", bedrock_session_token="t")
    missing("AWS_SECRET_ACCESS_KEY", environ={"AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "A"})
    missing("AWS_ACCESS_KEY_ID", environ={"AWS_REGION": "r", "AWS_SECRET_ACCESS_KEY": "S"})


def test_regions(home: Path) -> None:
    """Code, the model's ARN, environment, profile; or a typed error that names the field."""
    environ = {"HOME": str(home), "AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "sa-east-1"}
    assert endpoint(environ=environ, **KEYS).base_url == "https://bedrock-runtime.ap-south-1.amazonaws.com"
    assert "eu-central-1" in endpoint(PROFILE_ARN, environ, **KEYS).base_url
    assert "us-east-2" in endpoint(PROFILE_ARN, environ, bedrock_region="us-east-2", **KEYS).base_url
    del environ["AWS_REGION"]
    assert "sa-east-1" in endpoint(environ=environ, **KEYS).base_url
    missing("bedrock_region", environ={"HOME": str(home)}, **KEYS)
    missing("bedrock_region", environ={"HOME": str(home)}, api_key="k")
    write(home, "config", CONFIG)
    assert "us-west-2" in endpoint(environ={"HOME": str(home)}, **KEYS).base_url
    with pytest.raises(ConfigError):
        endpoint(bedrock_region="us-east-1.evil.example/", **KEYS)


def test_addresses() -> None:
    assert (
        endpoint(bedrock_region="cn-north-1", **KEYS).base_url == "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"
    )
    environ = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://vpce.example", "AWS_REGION": "us-east-1"}
    assert endpoint(environ=environ, **KEYS).base_url == "https://vpce.example"
    assert endpoint(environ=environ, base_url="https://mine.example", **KEYS).base_url == "https://mine.example"
    assert endpoint(environ={}, base_url="https://mine.example", api_key="k").base_url == "https://mine.example"


@pytest.mark.parametrize("more", [{"api_key": "k"}, {"bedrock_profile": "p"}])
def test_credentials_of_two_kinds_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        endpoint(**KEYS, **more)
    assert error.value.code == "conflicting_settings"


def test_keys_are_told_apart_and_never_shown() -> None:
    """P6."""
    made = [
        endpoint(**KEYS),
        endpoint(**{**KEYS, "bedrock_access_key_id": "AKIDOTHER"}),
        endpoint(api_key="bearer-secret"),
        endpoint(bedrock_region="eu-west-1", **KEYS),
    ]
    assert len({e.identity for e in made}) == 4
    for one in made:
        assert "secret" not in repr(one) and "secret" not in repr(one.auth)
    handle = resolve_model(Model(f"bedrock:{CLAUDE}", bedrock_region="us-east-1", **KEYS), {})
    assert "secret" not in repr(handle)


@pytest.mark.parametrize("key", ["bad\nkey", "clé"])
def test_keys_that_cannot_be_sent(key: str) -> None:
    for given in ({"api_key": key}, {**KEYS, "bedrock_access_key_id": key}, {**KEYS, "bedrock_session_token": key}):
        with pytest.raises(ConfigError) as error:
            endpoint(**given)
        assert error.value.code == "invalid_key"


# --- I1 ---


def test_without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """I1: keys in hand need no package; the chain names the extra that brings it."""
    monkeypatch.setattr(bedrock, "find_spec", lambda name: None)
    assert endpoint(**KEYS).auth is not None and endpoint(api_key="k").headers
    for given in ({}, {"bedrock_profile": "p"}):
        with pytest.raises(ConfigError) as error:
            endpoint(environ={"AWS_REGION": "us-east-1"}, **given)
        assert error.value.code == "missing_extra" and "turnwise[bedrock]" in error.value.hint
    missing("bedrock_region", environ={}, **KEYS)


def test_botocore_is_not_imported_unasked() -> None:
    """I1."""
    code = f"""
import sys
import turnwise
from turnwise.models.connection import Model
from turnwise.models.handle import resolve_model
resolve_model(Model("bedrock:x", bedrock_region="us-east-1", **{json.dumps(KEYS)}), {{}})
assert "botocore" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
