"""Where AWS Bedrock is reached and with what: region, address, and credentials from code, environment or botocore's chain.

Credentials given in code or in environment variables need no further package. All else (shared files, profiles, SSO, processes,
containers, instances) is botocore's business, imported when it is first needed, and read in a thread when the first request
is sent; credentials that expire are renewed by it before they do.

`environ` decides about keys, region, profile and the two shared files. What botocore reads beyond that (the cache of single sign-on,
variables of containers, of web identities and of the instance's metadata service) it takes from the process's own environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

from ..core.errors import ConfigError, config_error
from ..core.protocols import Blocking
from .auth import Endpoint, Outgoing
from .connection import Connection
from .endpoint import auth_headers, checked_key, checked_url, first_of, missing_config, missing_extra
from .hosts import Host
from .secrets import learn
from .sigv4 import Credentials, sign

_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
_FILES = {
    "config_file": ("AWS_CONFIG_FILE", ".aws/config"),
    "credentials_file": ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
}
"""Names of botocore's settings, the variables that they stand in, and where they are in the home directory."""
_DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eusc-", "amazonaws.eu"),
)
"""Partitions of AWS with a domain of their own, by what their regions begin with."""
_ARN = re.compile(r"arn:aws[^:]*:(?:bedrock|sagemaker):([a-z0-9-]+):")


def endpoint(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    """How Bedrock is reached for a model. In order: keys in code, a key for Bedrock (`api_key`, else `AWS_BEARER_TOKEN_BEDROCK`
    unless a profile is named in code), keys in the environment, the chain.

    Raises `ConfigError`: `missing_config` for keys that are half set and for a missing region, `missing_extra` without
    botocore where it is needed, `conflicting_settings`, `invalid_url`, `invalid_key`.
    """
    keys = _keys_in_code(host, connection)
    profile = connection.get("bedrock_profile")
    bearer = connection.get("api_key")
    if len([given for given in (keys, profile, bearer) if given]) > 1:
        message = "Bedrock is given more than one of api_key, bedrock_access_key_id and bedrock_profile."
        raise config_error("conflicting_settings", message, "Keep one of them.")
    if keys is None and profile is None and bearer is None:
        bearer = first_of(environ, host.key_variables)
    given_url = connection.get("base_url") or first_of(environ, host.url_variables)
    region = _region(host, model, environ, connection, needed=not (bearer and given_url))
    url = checked_url(host, given_url or _address(host, region))
    if bearer:
        return Endpoint(url, auth_headers(host, checked_key(host, bearer)), identity=hash(bearer))
    if keys is None and profile is None:
        keys = _keys_in_environment(host, environ)
    if keys is not None:
        return Endpoint(url, auth=SignedByKeys(keys, region), identity=hash((keys.access_key_id, region)))
    _need_botocore(host)
    identity = hash((profile or first_of(environ, _PROFILES), region))
    return Endpoint(url, auth=SignedByChain(host, environ, profile, region), identity=identity)


# --- signatures -------------------------------------------------------------------------------------------------------


class SignedByKeys:
    """Signs each request with the same keys."""

    __slots__ = ("_keys", "_region")

    def __init__(self, keys: Credentials, region: str) -> None:
        self._keys = keys
        self._region = region

    async def headers(self, request: Outgoing, blocking: Blocking, now: float) -> Mapping[str, str]:
        return sign(request, self._keys, self._region, now)


class SignedByChain:
    """Signs each request with what botocore's chain finds: looked for at the first request, renewed when about to expire.

    Both happen in a thread, once however many requests wait for it. A request that is cancelled meanwhile leaves the thread to
    finish for the others.
    """

    __slots__ = ("_environ", "_found", "_host", "_lock", "_profile", "_region")

    def __init__(self, host: Host, environ: Mapping[str, str], profile: str | None, region: str) -> None:
        self._host = host
        self._environ = environ
        self._profile = profile
        self._region = region
        self._lock = Lock()
        self._found: Any = None
        """A botocore `Credentials`."""

    async def headers(self, request: Outgoing, blocking: Blocking, now: float) -> Mapping[str, str]:
        found = self._found
        if found is None or _is_expiring(found):
            keys = await blocking.run(self._renewed)
        else:
            keys = _frozen(found)
        return sign(request, keys, self._region, now)

    def _renewed(self) -> Credentials:
        """The credentials of now; waits for files, processes and the network. Runs in a thread."""
        with self._lock:
            try:
                if self._found is None:
                    self._found = _chain(self._environ, self._profile, self._region)
                if self._found is not None:
                    return _frozen(self._found)
            except Exception as error:  # programs that are not there, answers that are no JSON, expired sign-ons …
                raise _no_credentials(self._host, f" ({type(error).__name__}: {error})") from error
        raise _no_credentials(self._host)


def _is_expiring(found: Any) -> bool:
    """Whether botocore would renew these credentials now. Keys that never expire know no such question."""
    ask = getattr(found, "refresh_needed", None)
    return bool(ask()) if ask is not None else False


def _frozen(found: Any) -> Credentials:
    now = found.get_frozen_credentials()
    learn(now.secret_key, passing=now.token is not None)
    learn(now.token, passing=True)
    return Credentials(now.access_key, now.secret_key, now.token)


def _chain(environ: Mapping[str, str], profile: str | None, region: str) -> Any:
    """What botocore's chain finds; None if nothing. Keys in variables were looked for in `environ` before."""
    session = _session(environ, profile)
    session.set_config_variable("region", region)
    resolver = session.get_component("credential_provider")
    resolver.remove("env")
    return resolver.load_credentials()


def _session(environ: Mapping[str, str], profile: str | None) -> Any:
    """A botocore session that reads what `environ` says, and asks nobody."""
    session = _botocore("session").Session(profile=profile)
    values = session.get_component("config_store")
    if profile is None:
        values.set_config_variable("profile", first_of(environ, _PROFILES))
    for name, (variable, place) in _FILES.items():
        values.set_config_variable(name, environ.get(variable) or f"{environ.get('HOME') or '~'}/{place}")
    return session


def _botocore(module: str) -> Any:
    """A module of botocore, which has no types."""
    return import_module(f"botocore.{module}")


def _need_botocore(host: Host) -> None:
    if find_spec("botocore") is None:
        raise missing_extra(host, "botocore", "bedrock")


def _no_credentials(host: Host, why: str = "") -> ConfigError:
    hint = (
        "Pass bedrock_access_key_id and bedrock_secret_access_key, or an api_key, or let botocore find credentials: "
        f"AWS_PROFILE, `aws sso login`, a role{why}."
    )
    return missing_config(host, "bedrock_access_key_id", hint)


# --- what is given ----------------------------------------------------------------------------------------------------


def _keys_in_code(host: Host, connection: Connection) -> Credentials | None:
    """Keys in code, which beat the chain; None if there are none. Raises `missing_config` naming the other half of a half."""
    access = connection.get("bedrock_access_key_id")
    secret = connection.get("bedrock_secret_access_key")
    token = connection.get("bedrock_session_token")
    if not (access or secret or token):
        return None
    hint = "Keys in code come together: bedrock_access_key_id, bedrock_secret_access_key and, if temporary, bedrock_session_token."
    if not access:
        raise missing_config(host, "bedrock_access_key_id", hint)
    if not secret:
        raise missing_config(host, "bedrock_secret_access_key", hint)
    return _checked(host, access, secret, token)


def _keys_in_environment(host: Host, environ: Mapping[str, str]) -> Credentials | None:
    access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access and not secret:
        return None
    hint = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY come together: set both, or neither."
    if not access:
        raise missing_config(host, "AWS_ACCESS_KEY_ID", hint)
    if not secret:
        raise missing_config(host, "AWS_SECRET_ACCESS_KEY", hint)
    return _checked(host, access, secret, environ.get("AWS_SESSION_TOKEN") or environ.get("AWS_SECURITY_TOKEN"))


def _checked(host: Host, access: str, secret: str, token: str | None) -> Credentials:
    for part in (access, token or ""):
        checked_key(host, part)
    learn(secret)
    return Credentials(access, secret, token or None)


def _region(host: Host, model: str, environ: Mapping[str, str], connection: Connection, *, needed: bool) -> str:
    """The region: from code, from the model's ARN, which holds in its region only, from the environment, from the profile."""
    arn = _ARN.match(model)
    given = connection.get("bedrock_region") or (arn[1] if arn else None) or first_of(environ, _REGIONS)
    region = given or _region_of_profile(host, environ, connection.get("bedrock_profile"))
    if region is None:
        if needed:
            hint = f"Pass bedrock_region, set {_REGIONS[0]}, or give the profile a region."
            raise missing_config(host, "bedrock_region", hint)
        return ""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", region):
        message = f"{region!r} is no region of AWS."
        raise config_error("invalid_setting", message, "A region is named like us-east-1.")
    return region


def _region_of_profile(host: Host, environ: Mapping[str, str], profile: str | None) -> str | None:
    """What the shared configuration says of the profile. Reads the file; nothing else is asked."""
    if find_spec("botocore") is None:
        if profile is not None:
            raise missing_extra(host, "botocore", "bedrock")
        return None
    try:
        found = _session(environ, profile).get_scoped_config().get("region")
    except _botocore("exceptions").BotoCoreError as error:
        hint = f"Check the AWS configuration files ({type(error).__name__}: {error})."
        raise missing_config(host, "bedrock_region", hint) from error
    return found or None


def _address(host: Host, region: str) -> str:
    domain = next((domain for begin, domain in _DOMAINS if region.startswith(begin)), "amazonaws.com")
    return host.base_url.format(region=region, domain=domain)
