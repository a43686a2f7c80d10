"""google-auth behind one door: application-default credentials in, the headers that let a request in out. Blocking; runs in a
thread.

The library is untyped here and there, brings its own HTTP client, and reads the environment of the process; of that no more
leaves this file than `headers_of`. Sources: https://google-auth.readthedocs.io and
https://cloud.google.com/docs/authentication/application-default-credentials
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUntypedBaseClass=false

from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from datetime import UTC
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import google.auth
import google.auth.transport
from google.auth import exceptions
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_S = 30.0


class NoCredentials(Exception):
    """There are no credentials, or they cannot be read."""


class RefreshFailed(Exception):
    """The credentials are there, and no token is given for them. `retryable`: that may pass."""

    def __init__(self, message: str, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class Credentials:
    """Application-default credentials, from a file if there is one, else from wherever google-auth finds them (workload identity,
    the metadata server of a machine at Google)."""

    def __init__(self, path: str | None) -> None:
        try:
            self._made: Any = _from_file(path) if path else google.auth.default(scopes=SCOPES, request=_Request())[0]
        except (exceptions.GoogleAuthError, OSError, ValueError) as error:
            raise NoCredentials(str(error)) from None

    def fresh_headers(self) -> tuple[Mapping[str, str], float | None]:
        """Headers with a new token, and when it expires (Unix seconds; None if it does not say). Raises `RefreshFailed`."""
        try:
            self._made.refresh(_Request())
            headers: dict[str, str] = {}
            self._made.apply(headers)
        except exceptions.TransportError as error:
            raise RefreshFailed(f"Google's token server cannot be reached: {_said(error)}", True) from None
        except (exceptions.GoogleAuthError, ValueError) as error:
            raise RefreshFailed(_said(error), bool(getattr(error, "retryable", False))) from None
        expiry = self._made.expiry
        return headers, None if expiry is None else expiry.replace(tzinfo=UTC).timestamp()


def _from_file(path: str) -> Any:
    info = _read(path)
    if info.get("type") == "service_account":
        return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
    if info.get("type") == "authorized_user":
        return user_credentials.Credentials.from_authorized_user_info(info)
    with warnings.catch_warnings():
        # It warns of files from elsewhere, whose URLs may be anybody's; this one is named by whoever runs the program.
        warnings.simplefilter("ignore", DeprecationWarning)
        return google.auth.load_credentials_from_file(path, scopes=SCOPES, request=_Request())[0]


def _read(path: str) -> dict[str, Any]:
    """A credentials file. Raises `OSError` or `ValueError`."""
    found: Any = json.loads(Path(path).read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no credentials.")
    return cast("dict[str, Any]", found)


def _said(error: Exception) -> str:
    return str(error.args[0] if error.args else error)[:500]


class _Response(google.auth.transport.Response):
    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status = status
        self._headers = headers
        self._data = data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def data(self) -> bytes:
        return self._data


class _Request(google.auth.transport.Request):
    """The HTTP client that google-auth asks for, on the standard library: its own need a package more."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Response:
        data = body.encode() if isinstance(body, str) else body
        try:
            asked = urllib.request.Request(url, data, dict(headers or {}), method=method)
            with urllib.request.urlopen(asked, timeout=timeout or _TIMEOUT_S) as answer:
                return _Response(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _Response(error.code, dict(error.headers), error.read())
        except (OSError, HTTPException, ValueError) as error:
            raise exceptions.TransportError(error) from error
