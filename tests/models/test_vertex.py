"""Vertex AI: which settings make which URL, what is missing by name, tokens and application-default credentials.

The credentials are a service account's, with a key made here; Google's token server is one on loopback that checks what is signed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from turnwise import Agent, Runtime
from turnwise.core.errors import ConfigError, ProviderError
from turnwise.core.request import RequestHead
from turnwise.models.auth import Auth, Outgoing
from turnwise.models.connection import Model
from turnwise.models.handle import ModelHandle, resolve_model
from turnwise.runtime.blocking import ThreadPool
from turnwise.testing import ScriptedProvider, call, reply, text
from turnwise.testing.loopback import Connection, HttpReceived, LoopbackServer

GEMINI = "vertex:gemini-3-flash"
NOW = 1_800_000_000.0
OUTGOING = Outgoing("POST", "https://x", {}, ())
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def resolve(name: str = GEMINI, environ: Mapping[str, str] | None = None, **connection: Any) -> ModelHandle:
    return resolve_model(Model(name, **connection), {} if environ is None else environ)


def refusal(*args: Any, **connection: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        resolve(*args, **connection)
    return raised.value


def auth_of(handle: ModelHandle) -> Auth:
    assert handle.auth is not None
    return handle.auth


@asynccontextmanager
async def threads() -> AsyncIterator[ThreadPool]:
    pool = ThreadPool(max_threads=4)
    try:
        yield pool
    finally:
        await pool.close()


# --- addresses ---

GLOBAL = "https://aiplatform.googleapis.com/v1"
P = "publishers/google"


@pytest.mark.parametrize(
    ("environ", "connection", "url"),
    [
        ({}, {"vertex_project": "p"}, f"{GLOBAL}/projects/p/locations/global/{P}"),
        ({"GOOGLE_CLOUD_PROJECT": "e"}, {}, f"{GLOBAL}/projects/e/locations/global/{P}"),
        ({"GOOGLE_CLOUD_PROJECT": "e"}, {"vertex_project": "p"}, f"{GLOBAL}/projects/p/locations/global/{P}"),
        (
            {"GOOGLE_CLOUD_REGION": "europe-west4"},
            {"vertex_project": "p"},
            f"https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/{P}",
        ),
        (
            {"GOOGLE_CLOUD_LOCATION": "us-east1", "GOOGLE_CLOUD_REGION": "x"},
            {"vertex_project": "p"},
            f"https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1/{P}",
        ),
        (
            {"GOOGLE_CLOUD_LOCATION": "us-east1"},
            {"vertex_project": "p", "vertex_location": "eu"},
            f"https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/{P}",
        ),
        (
            {},
            {"vertex_project": "p", "base_url": "http://proxy:1"},
            f"http://proxy:1/v1/projects/p/locations/global/{P}",
        ),
        ({}, {"base_url": "https://gate.example/google/v1"}, "https://gate.example/google/v1"),
    ],
)
def test_addresses(environ: dict[str, str], connection: dict[str, Any], url: str) -> None:
    handle = resolve(environ=environ, vertex_token="t", **connection)
    assert handle.base_url == url
    sealed = handle.seal(handle.head(RequestHead("x")))
    assert sealed.url == f"{url}/models/gemini-3-flash:streamGenerateContent?alt=sse"
    assert sealed.headers["authorization"] == "Bearer t"


def test_tuned_models_are_at_endpoints_of_the_project() -> None:
    handle = resolve("vertex:endpoints/42", vertex_project="p", vertex_token="t")
    sealed = handle.seal(handle.head(RequestHead("x", stream=False)))
    assert sealed.url == f"{GLOBAL}/projects/p/locations/global/endpoints/42:generateContent"


def test_an_api_key_alone_is_for_express_mode() -> None:
    handle = resolve(environ={"GOOGLE_CLOUD_PROJECT": "e"}, api_key="k")
    assert handle.base_url == f"{GLOBAL}/{P}" and handle.auth is None
    assert handle.seal(handle.head(RequestHead("x"))).headers["x-goog-api-key"] == "k"
    assert resolve(api_key="k", vertex_project="p").base_url == f"{GLOBAL}/projects/p/locations/global/{P}"


def test_keys_are_told_apart_and_not_told() -> None:
    one, other = resolve(api_key="secret-1"), resolve(api_key="secret-2")
    assert one.key_scope != other.key_scope and "secret" not in f"{one!r}{one.key_scope}"
    asking = resolve(vertex_project="p", vertex_token=lambda: "secret")
    assert "secret" not in repr(asking.auth)


# --- what is missing or wrong ---


def test_without_a_project_nothing_is_tried() -> None:
    for connection in ({"vertex_token": "t"}, {}):
        error = refusal(environ={}, **connection)
        assert (error.code, error.info.detail) == ("missing_config", "vertex_project")
        assert "GOOGLE_CLOUD_PROJECT" in error.hint


@pytest.mark.parametrize(
    ("connection", "code"),
    [
        ({"api_key": "k", "vertex_token": "t"}, "conflicting_settings"),
        ({"vertex_token": "t", "vertex_project": "p", "vertex_location": "evil.example/"}, "invalid_setting"),
        ({"vertex_token": "t", "vertex_project": "p/../q"}, "invalid_setting"),
        ({"vertex_token": "line\nbreak", "vertex_project": "p"}, "invalid_key"),
        ({"vertex_token": "t", "base_url": "ftp://x/y"}, "invalid_url"),
        ({"vertex_token": "t", "azure_resource": "x"}, "unused_config"),
    ],
)
def test_what_is_wrong_is_refused(connection: dict[str, Any], code: str) -> None:
    assert refusal(**connection).code == code


def test_without_google_auth_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """I1: credentials of the caller's own need no package."""
    monkeypatch.setattr("turnwise.models.vertex.find_spec", lambda _: None)
    error = refusal(vertex_project="p")
    assert error.code == "missing_extra" and "turnwise[vertex]" in error.hint
    assert resolve(vertex_project="p", vertex_token="t").base_url and resolve(api_key="k").base_url


# --- tokens of the caller's ---


async def test_tokens_from_functions_are_asked_for_each_request() -> None:
    asked: list[str] = []

    def plain() -> str:
        asked.append(threading.current_thread().name)
        return f"plain-{len(asked)}"

    async def waiting() -> str:
        asked.append(threading.current_thread().name)
        return f"async-{len(asked)}"

    async with threads() as pool:
        for ask, name in ((plain, "plain"), (waiting, "async")):
            auth = auth_of(resolve(vertex_project="p", vertex_token=ask))
            got = [await auth.headers(OUTGOING, pool, NOW) for _ in range(2)]
            assert [h["authorization"].partition("-")[0] for h in got] == [f"Bearer {name}"] * 2 and got[0] != got[1]
        for wrong in (lambda: None, lambda: "", lambda: "a\nb"):
            with pytest.raises(ConfigError) as raised:
                await auth_of(resolve(vertex_project="p", vertex_token=wrong)).headers(OUTGOING, pool, NOW)
            assert raised.value.code == "invalid_key"
    here = threading.current_thread().name
    assert here not in asked[:2] and asked[2:] == [here] * 2, "what blocks runs in a thread"


# --- application-default credentials ---


class TokenServer:
    """Google's token server: checks the signed assertion, then plays `answers` (status and body), the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = [(200, {})]
        self.asked: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()
        self.go_on: asyncio.Event | None = None
        self.url = ""

    async def handle(self, connection: Connection, request: HttpReceived) -> None:
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        head, claims, signature = form["assertion"].split(".")
        KEY.public_key().verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        self.asked.append(json.loads(_decoded(claims)))
        number = len(self.asked)
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.arrived.set()
        if self.go_on is not None:
            await self.go_on.wait()
        body = json.dumps(answer or {"access_token": f"token-{number}", "expires_in": 3600, "token_type": "Bearer"})
        connection.start(status, {"content-type": "application/json"}, len(body))
        await connection.send(body.encode())
        connection.end()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    made = TokenServer()
    server = LoopbackServer(made.handle)
    made.url = f"http://127.0.0.1:{await server.open()}/token"
    try:
        yield made
    finally:
        if made.go_on is not None:
            made.go_on.set()
        await server.close()


def service_account(folder: Path, token_uri: str) -> dict[str, str]:
    """An environment that names the file of a service account."""
    path = folder / "key.json"
    account = {
        "type": "service_account",
        "project_id": "from-the-file",
        "private_key_id": "1",
        "private_key": PEM,
        "client_email": "robot@from-the-file.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(account))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials in the environment of this process, and none asked of a network."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


async def test_a_service_account_gets_a_token_and_keeps_it_until_shortly_before_its_end(tmp_path: Path) -> None:
    async with token_server() as server, threads() as pool:
        handle = resolve(environ=service_account(tmp_path, server.url))
        assert "/projects/from-the-file/" in handle.base_url, "the project is that of the credentials"
        auth = auth_of(handle)
        now = time.time()
        first = await auth.headers(OUTGOING, pool, now)
        assert first["authorization"] == "Bearer token-1" and "token-1" not in repr(auth)
        assert (await auth.headers(OUTGOING, pool, now + 3300))["authorization"] == "Bearer token-1"
        assert (await auth.headers(OUTGOING, pool, now + 3500))["authorization"] == "Bearer token-2"
        assert server.asked[0]["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        assert server.asked[0]["iss"] == "robot@from-the-file.iam.gserviceaccount.com"


async def test_one_renewal_serves_all_who_wait(tmp_path: Path) -> None:
    async with token_server() as server, threads() as pool:
        server.go_on = asyncio.Event()
        auth = auth_of(resolve(environ=service_account(tmp_path, server.url)))
        waiting = [asyncio.ensure_future(auth.headers(OUTGOING, pool, NOW)) for _ in range(8)]
        await server.arrived.wait()
        server.go_on.set()
        got = await asyncio.gather(*waiting)
        assert {h["authorization"] for h in got} == {"Bearer token-1"} and len(server.asked) == 1


async def test_who_gives_up_does_not_stop_the_others(tmp_path: Path) -> None:
    """C3: cancelled while a token is being renewed, also by the one who began it."""
    async with token_server() as server, threads() as pool:
        server.go_on = asyncio.Event()
        auth = auth_of(resolve(environ=service_account(tmp_path, server.url)))
        first, second, third = [asyncio.ensure_future(auth.headers(OUTGOING, pool, 1.0)) for _ in range(3)]
        await server.arrived.wait()
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        assert first.cancelled() and third.cancelled()
        server.go_on.set()
        assert (await second)["authorization"] == "Bearer token-1"
        assert len(server.asked) == 1


async def test_a_refused_account_is_an_error_of_its_own(tmp_path: Path) -> None:
    async with token_server() as server, threads() as pool:
        server.answers = [(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}), (200, {})]
        auth = auth_of(resolve(environ=service_account(tmp_path, server.url)))
        failed = await asyncio.gather(*[auth.headers(OUTGOING, pool, NOW) for _ in range(3)], return_exceptions=True)
        assert [type(f) for f in failed] == [ProviderError] * 3, "all who waited are told"
        error = failed[0]
        assert isinstance(error, ProviderError)
        assert (error.code, error.retryable, error.info.provider) == ("auth", False, "vertex")
        assert "invalid_grant" in error.message and "PRIVATE KEY" not in error.message
        assert (await auth.headers(OUTGOING, pool, NOW))["authorization"] == "Bearer token-2", "and it may be mended"


async def test_a_token_server_that_is_down_may_come_back(tmp_path: Path) -> None:
    async with threads() as pool:
        auth = auth_of(resolve(environ=service_account(tmp_path, "http://127.0.0.1:1/token")))
        with pytest.raises(ProviderError) as raised:
            await auth.headers(OUTGOING, pool, NOW)
        assert raised.value.code == "auth" and raised.value.retryable


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        '{"type": "service_account"}',
        '{"type": "service_account", "private_key": "x"}',
        '{"type": "unheard_of"}',
    ],
)
async def test_credentials_that_are_not_there_are_named_at_the_first_request(
    tmp_path: Path, content: str | None
) -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    handle = resolve(environ=environ)
    async with threads() as pool:
        with pytest.raises(ConfigError) as raised:
            await auth_of(handle).headers(OUTGOING, pool, NOW)
    assert (raised.value.code, raised.value.info.detail) == ("missing_config", "application-default credentials")
    del environ["GOOGLE_CLOUD_PROJECT"]
    assert refusal(environ=environ).info.detail == "vertex_project"


@pytest.mark.usefixtures("nowhere")
async def test_no_credentials_at_all() -> None:
    async with threads() as pool:
        with pytest.raises(ConfigError, match="application-default credentials") as raised:
            await auth_of(resolve(vertex_project="p")).headers(OUTGOING, pool, NOW)
    assert "gcloud auth application-default login" in raised.value.hint


def test_what_gcloud_wrote_is_found(tmp_path: Path) -> None:
    (tmp_path / "application_default_credentials.json").write_text(
        json.dumps(
            {
                "type": "authorized_user",
                "client_id": "c",
                "client_secret": "s",
                "refresh_token": "r",
                "quota_project_id": "mine",
            }
        )
    )
    handle = resolve(environ={"CLOUDSDK_CONFIG": str(tmp_path)})
    assert "/projects/mine/" in handle.base_url
    home = tmp_path / "home" / ".config" / "gcloud"
    home.mkdir(parents=True)
    (tmp_path / "application_default_credentials.json").rename(home / "application_default_credentials.json")
    assert "/projects/mine/" in resolve(environ={"HOME": str(tmp_path / "home")}).base_url


# --- over the wire ---


async def weather(city: str) -> str:
    """Forecast."""
    return f"Sun in {city}"


async def test_a_turn_with_a_tool_and_a_service_account(tmp_path: Path) -> None:
    script = [reply(call("weather", city="Oslo")), reply(text("Sunny", "."))]
    async with token_server() as server, ScriptedProvider(script) as provider:
        environ = {**service_account(tmp_path, server.url), "GOOGLE_CLOUD_PROJECT": "scripted"}
        async with Runtime(environ=environ) as runtime:
            agent = Agent(Model(GEMINI, base_url=provider.url), tools=[weather], stream=False, runtime=runtime)
            result = await agent.run("And in Oslo?")
        assert result.text == "Sunny." and len(server.asked) == 1
        first, second = provider.requests
        assert first.api == "vertex.generateContent" and first.path.endswith("/gemini-3-flash:generateContent")
        assert first.problems == () and second.problems == ()
        answer = second.body["contents"][-1]["parts"][0]["functionResponse"]
        assert answer["response"] == {"output": "Sun in Oslo"} and answer["id"] == "t1_s1_c0"
