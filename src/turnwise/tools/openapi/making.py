"""Operations become tools: which of them, under which names, on which server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from ...core.errors import ConfigError
from ..cap import DEFAULT_RESULT_CHARS
from ..context import ToolContext
from ..plain import PlainArguments
from ..registry import fitting, nearest
from ..tool import Tool
from .auth import Auth, check_schemes, keys_of
from .calling import call
from .document import Document, Node, Problem, Spec, bad_openapi
from .operations import READING, Found, Operation, arguments_of, description_of, operations_of, wished_name
from .serialised import written

NAME_CHARS = 64


class Options(NamedTuple):
    """What the caller of `Tools.from_openapi` wants of all tools."""

    auth: Auth = None
    base_url: str | None = None
    prefix: str = ""
    headers: Mapping[str, str] = {}
    timeout_s: float | None = 30.0
    max_result_chars: int | None = DEFAULT_RESULT_CHARS
    retries: int = 0


def tools_of(spec: Spec, only: Sequence[str] | None, options: Options) -> tuple[list[Tool[..., Any]], dict[str, str]]:
    """The tools, in the order of the document, and what is left out, with the reason. Raises `ConfigError` (`bad_openapi`)."""
    document = Document(spec)
    problems = [*_bad_options(options), *check_schemes(options.auth, document)]
    found, left_out = _found(document, problems)
    if only is not None:
        left_out = {what: why for what, why in left_out.items() if any(_means(one, what) for one in only)}
        problems += [f"{what}: {why}" for what, why in left_out.items()]
    tools: list[Tool[..., Any]] = []
    names = _names(found.values(), options.prefix)
    for wanted in only or ():
        if not any(_means(wanted, one.label, one.id, name) for name, one in zip(names, found.values(), strict=True)):
            known = [n for name, one in zip(names, found.values(), strict=True) for n in (one.label, one.id, name) if n]
            if not any(_means(wanted, what) for what in left_out):
                problems.append(f"it has no operation {wanted!r}. {nearest(wanted, known)}")
    for name, one in zip(names, found.values(), strict=True):
        if only is not None and not any(_means(wanted, one.label, one.id, name) for wanted in only):
            continue
        try:
            tools.append(_tool(name, one, document, options))
        except Exception as problem:
            why = _why(problem)
            (problems.append(f"{one.label}: {why}") if only is not None else left_out.update({one.label: why}))
    if not tools and not problems:
        problems = ["it has no operation that could be a tool", *[f"{what}: {why}" for what, why in left_out.items()]]
    if problems:
        raise bad_openapi(problems)
    return tools, left_out


def _why(problem: Exception) -> str:
    """What is wrong with an operation. A document can be wrong in more ways than are looked for."""
    if isinstance(problem, ConfigError):
        return problem.message
    if isinstance(problem, Problem):
        return str(problem)
    return f"it is not as OpenAPI has it ({type(problem).__name__}: {problem})"


def _found(document: Document, problems: list[str]) -> tuple[dict[str, Found], dict[str, str]]:
    found: dict[str, Found] = {}
    left_out: dict[str, str] = {}
    try:
        for one in operations_of(document):
            if isinstance(one, Found):
                found[one.label] = one
            else:
                left_out[one[0]] = one[1]
    except Problem as problem:
        problems.append(str(problem))
    return found, left_out


def _bad_options(options: Options) -> list[str]:
    problems: list[str] = []
    if options.prefix and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", options.prefix):
        problems.append(f"prefix={options.prefix!r}: it is 1 to 32 of the characters a-z, A-Z, 0-9, _ and -")
    if options.base_url is not None and _absolute(options.base_url) is None:
        problems.append(f"base_url={options.base_url!r} is not an http or https address")
    for name, value in options.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
            problems.append(f"the header {name!r} cannot be sent")
    return problems


# --- which ----------------------------------------------------------------------------------------------------------------


def _means(wanted: str, label: str, *names: str) -> bool:
    """Whether `only` speaks of this operation: by its id, by the name of its tool, or by method and path."""
    method, _, path = wanted.partition(" ")
    if path.startswith("/") and method.isalpha():
        return fitting(f"{method.upper()} {path.strip()}", label)
    return any(name and fitting(wanted, name) for name in names)


def _names(found: Iterable[Found], prefix: str) -> list[str]:
    """Names of tools, each once: with a number behind those that would be there twice."""
    taken: set[str] = set()
    names: list[str] = []
    for one in found:
        base = (prefix + wished_name(one))[:NAME_CHARS]
        name, n = base, 2
        while name in taken:
            end = f"_{n}"
            name, n = base[: NAME_CHARS - len(end)] + end, n + 1
        taken.add(name)
        names.append(name)
    return names


# --- a tool ---------------------------------------------------------------------------------------------------------------


def _tool(name: str, found: Found, document: Document, options: Options) -> Tool[..., Any]:
    keys = keys_of(options.auth, document, found.node)
    schema, parameters, body = arguments_of(found, document, keys)
    base_url = _base_url(found, document, options.base_url)
    operation = Operation(found.label, found.method, base_url, _literal(found.path), parameters, body, keys)
    reads = found.method in READING
    tags = [str(tag) for tag in cast("list[Any]", found.node.get("tags") or [])]
    run, invoke = _functions(name, operation, options.headers)
    return Tool(
        run,
        PlainArguments(name, schema, None),
        invoke,
        schema,
        name=name,
        description=description_of(found),
        timeout_s=options.timeout_s,
        max_result_chars=options.max_result_chars,
        read_only=reads,
        idempotent=reads,
        retries=options.retries if reads else 0,
        category=tags[0] if tags else "",
        tags=tags,
        permission="network",
        validate=lambda arguments: _check(operation, arguments),
    )


def _check(operation: Operation, arguments: Mapping[str, Any]) -> None:
    """What cannot be written into a request is refused before anybody is asked about the call."""
    written(operation, arguments, {})


def _literal(path: str) -> str:
    """The path with what is not to be filled in as it is sent. Raises `Problem` for one that would change the host."""
    if not path.startswith("/") or path.startswith("//"):
        raise Problem("its path does not begin with one /")
    parts = re.split(r"(\{[^{}]+\})", path)
    return "".join([part if part.startswith("{") else quote(part, safe="/:@!$&'()*+,;=~%-._") for part in parts])


def _functions(
    name: str, operation: Operation, headers: Mapping[str, str]
) -> tuple[Callable[..., Any], Callable[[Any, ToolContext[Any]], Any]]:
    """What the tool is for Python, and what runs it."""

    async def run(context: ToolContext[Any], /, **arguments: Any) -> Any:
        return await call(operation, arguments, headers, context)

    run.__name__ = run.__qualname__ = name
    return run, lambda arguments, context: call(operation, arguments, headers, context)


def _base_url(found: Found, document: Document, given: str | None) -> str:
    """The address before the path: the caller's, or the first server that the document names nearest."""
    if given is not None:
        return given.rstrip("/")
    for holder in (found.node, found.item, document.root):
        servers = holder.get("servers")
        if isinstance(servers, list) and servers:
            url = _server(document.node(servers[0], "a server"))
            if (absolute := _absolute(url)) is None:
                raise Problem(f"its server is {url!r}, which is no whole address: give base_url=")
            return absolute
    raise Problem("it names no server: give base_url=")


def _server(node: Node) -> str:
    """Its address, with the defaults of its variables."""
    variables = cast("Mapping[str, Node]", node.get("variables") or {})
    url = str(node.get("url", ""))
    for name, variable in variables.items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url


def _absolute(url: str) -> str | None:
    fits = re.fullmatch(r"https?://[^\s/?#{}]+(/[^\s?#{}]*)?", url)
    return url.rstrip("/") if fits else None
