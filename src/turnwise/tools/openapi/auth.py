"""The caller's keys, put where the document wants them. Values are shown nowhere: not by `repr`, and masked in what a server says back."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import quote

import msgspec

from .document import Document, Node, Problem

Where = Literal["header", "query", "cookie"]


class _Secret(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Bearer(_Secret, frozen=True):
    """`Authorization: Bearer TOKEN`."""

    token: str


class Basic(_Secret, frozen=True):
    """User name and password."""

    user: str
    password: str


class ApiKey(_Secret, frozen=True):
    """A key under a name of its own, in a header, in the query or in a cookie."""

    key: str
    name: str
    where: Where = "header"


class Outgoing(NamedTuple):
    """A request that is about to be sent, for functions that sign it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


One = str | Bearer | Basic | ApiKey
Sign = Callable[[Outgoing], "Mapping[str, str] | Awaitable[Mapping[str, str]]"]
"""Gives the headers that let this request in; it may be a coroutine function. Called for each request."""
Auth = One | Sign | Mapping[str, One] | None


class Keys(NamedTuple):
    """What an operation is let in by: `fixed` keys, and a function that is asked for each request."""

    fixed: tuple[Bearer | Basic | ApiKey, ...] = ()
    sign: Sign | None = None


def keys_of(auth: Auth, document: Document, operation: Node) -> Keys:
    """What goes with the requests of this operation. Raises `Problem` if the document leaves open where the key belongs."""
    security = operation.get("security", document.root.get("security"))
    wanted = cast("Sequence[Mapping[str, Any]] | None", security)
    if auth is None or (wanted is not None and not any(wanted)):
        return Keys()  # none is asked for
    if isinstance(auth, Bearer | Basic | ApiKey):
        return Keys((auth,))
    if isinstance(auth, str):
        return Keys(_for_one(auth, document, wanted))
    if isinstance(auth, Mapping):
        return Keys(_for_several(cast("Mapping[str, One]", auth), document, wanted))
    return Keys(sign=auth)


def check_schemes(auth: Auth, document: Document) -> list[str]:
    """What is wrong with keys that are given by the document's names."""
    if not isinstance(auth, Mapping):
        return []
    known = _schemes(document)
    there = ", ".join(sorted(known)) or "none"
    return [
        f"auth names the scheme {name!r}, and the document has: {there}"
        for name in cast("Mapping[str, One]", auth)
        if name not in known
    ]


def _for_one(
    key: str, document: Document, wanted: Sequence[Mapping[str, Any]] | None
) -> tuple[Bearer | Basic | ApiKey, ...]:
    """One key for whatever the document asks for first that needs one key."""
    known = _schemes(document)
    if wanted is None:
        wanted = [{name: []} for name in known] if len(known) == 1 else []
        if not wanted:
            return (Bearer(key),)
    single = [next(iter(one)) for one in wanted if len(one) == 1]
    if not single:
        raise Problem("it asks for several keys at once: give auth={scheme: key, …}")
    return (_placed(single[0], key, document),)


def _for_several(
    keys: Mapping[str, One], document: Document, wanted: Sequence[Mapping[str, Any]] | None
) -> tuple[Bearer | Basic | ApiKey, ...]:
    """The first alternative for which all keys are there; none if there is none: then the server has its say."""
    if wanted is None:
        return tuple([_placed(name, key, document) for name, key in keys.items()])
    fitting = next((one for one in wanted if one and all(name in keys for name in one)), dict[str, Any]())
    return tuple([_placed(name, keys[name], document) for name in fitting])


def _placed(name: str, key: One, document: Document) -> Bearer | Basic | ApiKey:
    if not isinstance(key, str):
        return key
    schemes = _schemes(document)
    if name not in schemes:
        raise Problem(f"it asks for the security scheme {name!r}, which the document does not have")
    scheme = document.node(schemes[name], f"security scheme {name!r}")
    kind, way = scheme.get("type"), str(scheme.get("scheme", "")).lower()
    if kind == "apiKey" and scheme.get("in") in ("header", "query", "cookie"):
        return ApiKey(key, str(scheme.get("name", "")), cast("Where", scheme["in"]))
    if kind == "http" and way == "basic":
        user, colon, password = key.partition(":")
        if not colon:
            raise Problem(f"the scheme {name!r} wants a user and a password: give Basic(user, password)")
        return Basic(user, password)
    if (kind == "http" and way == "bearer") or kind in ("oauth2", "openIdConnect"):
        return Bearer(key)
    raise Problem(f"the scheme {name!r} ({kind} {way}) needs a function: auth=fn")


def _schemes(document: Document) -> Node:
    components = document.root.get("components")
    found = cast("Node", components).get("securitySchemes") if isinstance(components, Mapping) else None
    return cast("Node", found) if isinstance(found, Mapping) else {}


_SECRET_HEADER = re.compile("auth|token|key|secret|cookie|signature", re.I)

# --- for a request ------------------------------------------------------------------------------------------------------


def headers_of(one: Bearer | Basic | ApiKey) -> dict[str, str]:
    """The headers in which a key goes; those of cookies are put together by the caller."""
    match one:
        case Bearer(token):
            return {"Authorization": f"Bearer {token}"}
        case Basic(user, password):
            return {"Authorization": f"Basic {_basic(user, password)}"}
        case ApiKey(key, name, where):
            return {name: key} if where == "header" else {}


def secrets_of(keys: Keys, signed: Mapping[str, str]) -> list[str]:
    """All texts that must not be told on, longest first."""
    found: set[str] = set()
    for name, value in signed.items():
        if _SECRET_HEADER.search(name):
            found |= {value, value.rpartition(" ")[2]}
    for one in keys.fixed:
        match one:
            case Bearer(token):
                found.add(token)
            case Basic(user, password):
                found |= {password, _basic(user, password)}
            case ApiKey(key, _, _):
                found.add(key)
    found |= {quote(one, safe="") for one in found}
    return sorted([f for f in found if len(f) >= 4], key=len, reverse=True)


def masked(text: str, secrets: Sequence[str]) -> str:
    """The text without them."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
