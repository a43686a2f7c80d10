"""Where Vertex AI is reached and how it lets requests in: project and location, tokens, application-default credentials.

A base URL without a path stands in for Google's host; one with a path is taken as it is, up to `/models/…`. An API key without a
project goes to the global endpoint of express mode. Sources: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/locations,
…/docs/start/express-mode and https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from ..core.errors import ErrorInfo, ProviderError, config_error
from ..core.protocols import Blocking
from ..wire.error_tables import AUTH
from .auth import Endpoint, Outgoing
from .connection import Connection
from .endpoint import checked_key, checked_url, first_of, missing_config, missing_extra
from .hosts import Host
from .secrets import learn
from .token import TokenAuth

if TYPE_CHECKING:
    from .google_credentials import Credentials

DEFAULT_LOCATION = "global"
REFRESH_BEFORE_S = 225.0
"""How long before its end a token is renewed: as long as google-auth does, since Google's metadata server keeps tokens longer."""
_PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT")
_LOCATION_VARIABLES = ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION")
_MULTI_REGIONS = ("us", "eu")
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,127}")


def endpoint(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    """The endpoint of a model at Vertex AI.

    Files of credentials are read here only to find the project, if nothing else names it; nothing is sent. Raises
    `ConfigError`: `missing_config` naming what is missing, `missing_extra` without google-auth, `conflicting_settings`,
    `invalid_setting`, `invalid_url`, `invalid_key`.
    """
    key, token = connection.get("api_key"), connection.get("vertex_token")
    if key is not None and token is not None:
        message = "api_key and vertex_token are both given, and a request can hold only one of them."
        raise config_error("conflicting_settings", message, "Leave one out.")
    if key is None and token is None and not _has_google_auth():
        raise missing_extra(host, "google-auth", "vertex")
    path = None if key is not None or token is not None else _credentials_file(environ)
    base_url = _base_url(host, model, environ, connection, path)
    if key is not None:
        return Endpoint(base_url, {"x-goog-api-key": checked_key(host, key)}, identity=hash(key))
    if isinstance(token, str):
        return Endpoint(base_url, {"authorization": f"Bearer {checked_key(host, token)}"}, identity=hash(token))
    if token is not None:
        return Endpoint(base_url, auth=TokenAuth(host, "vertex_token", token), identity=hash(token))
    return Endpoint(base_url, auth=DefaultCredentials(host, path), identity=hash(path))


# --- the address ----------------------------------------------------------------------------------------------------


def _base_url(
    host: Host, model: str, environ: Mapping[str, str], connection: Connection, credentials: str | None
) -> str:
    given = connection.get("base_url") or first_of(environ, host.url_variables)
    if given is not None and urlsplit(checked_url(host, given)).path.strip("/"):
        return given
    project, location = connection.get("vertex_project"), connection.get("vertex_location")
    if connection.get("api_key") is not None and not project:
        return f"{(given or 'https://aiplatform.googleapis.com').rstrip('/')}/v1/publishers/google"
    project = _project(host, project or first_of(environ, _PROJECT_VARIABLES), connection, credentials)
    location = location or first_of(environ, _LOCATION_VARIABLES) or DEFAULT_LOCATION
    if not _LOCATION.fullmatch(location):
        raise config_error("invalid_setting", f"vertex_location {location!r} is not the name of a location.")
    whole = f"{(given or _origin(location)).rstrip('/')}/v1/projects/{project}/locations/{location}"
    return whole if model.startswith("endpoints/") else f"{whole}/publishers/google"


def _origin(location: str) -> str:
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _project(host: Host, named: str | None, connection: Connection, credentials: str | None) -> str:
    project = named or (_project_in(credentials) if credentials else None)
    if not project:
        hint = f"Pass vertex_project= or set {_PROJECT_VARIABLES[0]} in the environment."
        raise missing_config(host, "vertex_project", hint)
    if not _PROJECT.fullmatch(project):
        raise config_error("invalid_setting", f"vertex_project {project!r} is not the id of a project.")
    return project


# --- application-default credentials --------------------------------------------------------------------------------


def _has_google_auth() -> bool:
    try:
        return find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False


def _credentials_file(environ: Mapping[str, str]) -> str | None:
    """Where the credentials are, if they are in a file: the one that is named, or the one that gcloud writes."""
    if named := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return named
    folder = environ.get("CLOUDSDK_CONFIG")
    if folder is None:
        home = environ.get("APPDATA") or environ.get("HOME")
        folder = None if home is None else Path(home, "gcloud" if environ.get("APPDATA") else ".config/gcloud")
    path = None if folder is None else Path(folder, "application_default_credentials.json")
    return str(path) if path is not None and path.is_file() else None


def _project_in(path: str) -> str | None:
    """The project that a file of credentials is for; None if it does not say, or cannot be read: then it is told at the first
    request what is wrong with it."""
    try:
        found: Any = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    said = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    project = said.get("project_id") or said.get("quota_project_id")
    return project if isinstance(project, str) else None


class DefaultCredentials:
    """Tokens of the application-default credentials, renewed shortly before they expire. Who comes while a token is being
    renewed waits for that; across event loops a lock sees to it that one is renewed at a time."""

    __slots__ = ("_credentials", "_expires_at", "_headers", "_host", "_lock", "_path", "_renewing")

    def __init__(self, host: Host, path: str | None) -> None:
        self._host = host
        self._path = path
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None
        self._headers: Mapping[str, str] = {}
        self._expires_at: float | None = 0.0
        self._renewing: tuple[asyncio.AbstractEventLoop, list[asyncio.Future[bool]]] | None = None

    def __repr__(self) -> str:
        return f"DefaultCredentials({self._host.name})"

    async def headers(self, request: Outgoing, blocking: Blocking, now: float) -> Mapping[str, str]:
        """The `authorization` header, and the project that pays if the credentials name one.

        Raises `ConfigError` (`missing_config`) if there are no credentials, `ProviderError` (`auth`) if no token is given for
        them. Cancelling it leaves a renewal running that was begun.
        """
        while not self._is_fresh(now):
            loop, renewing = asyncio.get_running_loop(), self._renewing
            if renewing is not None and renewing[0] is loop:
                waiter: asyncio.Future[bool] = loop.create_future()
                renewing[1].append(waiter)
                if await waiter:
                    break
                continue
            mine: tuple[asyncio.AbstractEventLoop, list[asyncio.Future[bool]]] = (loop, [])
            self._renewing = mine
            outcome: bool | Exception = False
            try:
                await blocking.run(lambda: self._renew(now))
                outcome = True
            except Exception as error:
                outcome = error
                raise
            finally:
                if self._renewing is mine:
                    self._renewing = None
                for waiter in mine[1]:
                    _settle(waiter, outcome)
            break
        return self._headers

    def _is_fresh(self, now: float) -> bool:
        return self._expires_at is None or now < self._expires_at - REFRESH_BEFORE_S

    def _renew(self, now: float) -> None:
        """In a thread."""
        from .google_credentials import Credentials, NoCredentials, RefreshFailed

        with self._lock:
            if self._is_fresh(now):
                return
            try:
                if self._credentials is None:
                    self._credentials = Credentials(self._path)
                self._headers, self._expires_at = self._credentials.fresh_headers()
                learn(self._headers.get("authorization", "").removeprefix("Bearer "), passing=True)
            except NoCredentials as error:
                hint = (
                    "Run `gcloud auth application-default login`, name a file in GOOGLE_APPLICATION_CREDENTIALS, or pass "
                    f"vertex_token=. Google says: {error}"
                )
                raise missing_config(self._host, "application-default credentials", hint) from None
            except RefreshFailed as error:
                message = f"No token for {self._host.label}: {error}"
                info = ErrorInfo("provider", AUTH.code, message, _HINT, error.retryable, provider=self._host.name)
                raise ProviderError(info) from None


_HINT = "Check the application-default credentials: they are revoked, expired, or for another project."


def _settle(waiter: asyncio.Future[bool], outcome: bool | Exception) -> None:
    """Let one who waited go on: with what came of the renewal, or, if that was given up (False), to see to it itself."""
    if waiter.done():
        return
    if isinstance(outcome, bool):
        waiter.set_result(outcome)
    else:
        waiter.set_exception(outcome)
