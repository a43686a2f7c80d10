"""Where Azure OpenAI is reached and how it lets requests in: deployments, the v1 API, API keys and Entra tokens.

A resource and a deployment make an address of their own and go before any base URL. Chat on a dated API version is asked at the
deployment's URL; the v1 API, and Responses, at the resource's, with the deployment as the model. Sources:
https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference (URLs, `api-key`, `api-version`) and
…/openai/api-version-lifecycle (the v1 API).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, urlsplit

import msgspec

from ..core.errors import ConfigError, ErrorInfo, config_error
from .auth import Endpoint
from .connection import Connection
from .endpoint import auth_headers, checked_key, checked_url, first_of, key_endpoint, missing_config
from .hosts import Host
from .token import TokenAuth

API_VERSION = "2024-10-21"
"""The latest dated version that is generally available."""
_V1 = ("v1", "latest", "preview")
_OF_CODE = ("azure_resource", "azure_deployment", "azure_api_version", "azure_token")
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_VARIABLES = {
    "azure_resource": ("AZURE_OPENAI_RESOURCE", "AZURE_OPENAI_RESOURCE_NAME"),
    "azure_deployment": ("AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_DEPLOYMENT_NAME"),
    "azure_api_version": ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"),
}
_KEYS = ("AZURE_OPENAI_API_KEY",)
_TOKENS = ("AZURE_OPENAI_AD_TOKEN",)


def endpoint(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    """The endpoint of a model at Azure; of one at OpenAI itself if nothing of Azure's is given in code for an `openai` host.

    Raises `ConfigError`: `missing_config` naming what is missing of resource and deployment, `missing_key`,
    `invalid_setting`, `invalid_url`, `invalid_key`.
    """
    if not host.name.startswith("azure"):
        if not any(connection.get(field) for field in _OF_CODE):
            return key_endpoint(host, environ, connection)
        environ = {n: v for n, v in environ.items() if n in (*_KEYS, *_TOKENS)}
    place = _place(host, model, environ, connection)
    headers, auth, identity = _credentials(host, environ, connection, place.is_own)
    return Endpoint(place.base_url, headers, place.query, auth, identity, place.model)


class _Place(msgspec.Struct, frozen=True):
    """`model` is what the body calls the model; `is_own`: at the caller's own address, which may ask for no key."""

    base_url: str
    query: str
    model: str
    is_own: bool = False


def _place(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> _Place:
    resource = _said("azure_resource", environ, connection)
    deployment = _said("azure_deployment", environ, connection)
    version = _said("azure_api_version", environ, connection)
    given = connection.get("base_url")
    is_v1 = (version or ("v1" if host.api == "openai.responses" else API_VERSION)) in _V1
    if resource is not None and (deployment is not None or is_v1):
        if not _RESOURCE.fullmatch(resource):
            message = f"azure_resource={resource!r} is not the name of a resource."
            raise config_error("invalid_setting", message, "It is the first part of https://NAME.openai.azure.com.")
        return _at(host, f"https://{resource}.openai.azure.com", deployment, model, version)
    if connection.get("azure_resource"):
        raise _missing(host, "azure_deployment")
    if connection.get("azure_deployment") and given and not _is_root(given):
        raise _missing(host, "azure_resource")
    root = given or first_of(environ, host.url_variables)
    if root is None:
        raise _missing(host, "azure_resource" if resource is None else "azure_deployment")
    url = checked_url(host, root)
    if _is_root(url) or (given is None and not urlsplit(url).path.strip("/")):
        if deployment is None and not is_v1:
            raise _missing(host, "azure_deployment")
        return _at(host, url.rstrip("/"), deployment, model, version)
    place = _as_given(url, model if given else deployment or model, version)
    return msgspec.structs.replace(place, is_own=given is not None)


def _is_root(url: str) -> bool:
    """Whether a base URL is the address of an Azure resource, without what follows it."""
    parts = urlsplit(url)
    return (parts.hostname or "").endswith((".azure.com", ".azure.us", ".azure.cn")) and not parts.path.strip("/")


def _at(host: Host, root: str, deployment: str | None, model: str, version: str | None) -> _Place:
    """A deployment of the resource at `root`."""
    name = deployment or model
    if version in _V1 or (version is None and host.api == "openai.responses"):
        return _Place(f"{root}/openai/v1", "api-version=preview" if version == "preview" else "", name)
    query = f"api-version={quote(version or API_VERSION, safe='')}"
    if host.api == "openai.responses":
        return _Place(f"{root}/openai", query, name)
    return _Place(f"{root}/openai/deployments/{quote(name, safe='')}", query, name)


def _as_given(url: str, model: str, version: str | None) -> _Place:
    """An address that is complete, at least up to `/chat/completions` or `/responses`, with the version it wants."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/responses")
    url = parts._replace(path=path, query="").geturl()
    found = re.search(r"/openai/deployments/([^/]+)$", path)
    name = found[1] if found else model
    if "api-version=" in parts.query:
        return _Place(url, parts.query, name)
    if path.endswith("/openai/v1"):
        return _Place(url, "api-version=preview" if version == "preview" else "", name)
    if version in ("v1", "latest"):
        return _Place(url, "", name)
    return _Place(url, f"api-version={quote(version or API_VERSION, safe='')}", name)


def _said(field: str, environ: Mapping[str, str], connection: Connection) -> str | None:
    return cast("str | None", connection.get(field)) or first_of(environ, _VARIABLES[field])


def _missing(host: Host, field: str) -> ConfigError:
    return missing_config(host, field, f"Pass {field}= or set {_VARIABLES[field][0]} in the environment.")


def _credentials(
    host: Host, environ: Mapping[str, str], connection: Connection, is_own: bool
) -> tuple[Mapping[str, str], TokenAuth | None, int]:
    """Headers, or who makes them, and what tells these credentials from others."""
    token = connection.get("azure_token")
    key = connection.get("api_key")
    if token is not None and key is not None:
        message = "api_key and azure_token are both given, and a request can hold only one of them."
        raise config_error("conflicting_settings", message, "Leave one out.")
    if token is None and key is None:
        key, token = first_of(environ, _KEYS), first_of(environ, _TOKENS)
        token = None if key else token
    if callable(token):
        return {}, TokenAuth(host, "azure_token", token), hash(token)
    if token is not None:
        return {"authorization": f"Bearer {checked_key(host, token)}"}, None, hash(token)
    if key is not None:
        return auth_headers(msgspec.structs.replace(host, auth="api-key"), checked_key(host, key)), None, hash(key)
    if is_own:
        return {}, None, hash(None)
    raise ConfigError(
        ErrorInfo(
            "config",
            "missing_key",
            f"There is no API key for {host.label} at Azure.",
            f"Set {_KEYS[0]} in the environment, or pass api_key= or azure_token=.",
            provider=host.name,
        )
    )
