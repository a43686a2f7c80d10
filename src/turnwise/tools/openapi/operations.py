"""What an operation of a document asks of a model: its name, its arguments, and where each of them goes in a request.

Each parameter is an argument under its own name, or under `name_query` and the like where two would have one name; the body of a request
is the argument `body`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from .auth import ApiKey, Keys
from .document import Document, Node, Problem
from .schemas import Schemas

METHODS = ("get", "put", "post", "delete", "patch")
READING = ("get",)
DESCRIPTION_CHARS = 4_000
_PLACES = ("path", "query", "header", "cookie")
_OWN_HEADERS = ("accept", "content-type", "authorization")  # the document must not speak of these
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_ARGUMENT = re.compile(r"[^A-Za-z0-9_.-]+")
_STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}

Place = Literal["path", "query", "header", "cookie"]
BodyKind = Literal["json", "form", "multipart", "text"]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: the model's argument `argument` goes into `place` under `name`, written as `style` says, or as JSON."""

    argument: str
    name: str
    place: Place
    style: str
    explode: bool
    reserved: bool
    as_json: bool


class BodyForm(msgspec.Struct, frozen=True):
    """How the argument `body` is sent."""

    media_type: str
    kind: BodyKind


class Found(msgspec.Struct, frozen=True):
    """An operation where it stands in its document."""

    id: str
    method: str
    path: str
    node: Node
    item: Node

    @property
    def label(self) -> str:
        """`GET /pets/{id}`: for people and models."""
        return f"{self.method.upper()} {self.path}"


class Operation(msgspec.Struct, frozen=True):
    """An operation, ready to be called: everything but the arguments."""

    label: str
    method: str
    base_url: str
    path: str
    parameters: tuple[Parameter, ...]
    body: BodyForm | None
    keys: Keys


def operations_of(document: Document) -> Iterator[Found | tuple[str, str]]:
    """All operations in the order of the document; (what, why) for what cannot be one."""
    paths: Any = document.root.get("paths") or {}
    if not isinstance(paths, Mapping):
        raise Problem("its paths are no object")
    for path, given in cast("Node", paths).items():
        if path.startswith("x-"):
            continue
        try:
            item = document.node(given, f"path {path}")
        except Problem as problem:
            yield path, str(problem)
            continue
        for method, node in item.items():
            if method not in METHODS:
                if method in ("head", "options", "trace"):
                    yield f"{method.upper()} {path}", f"{method.upper()} has no answer that a model could use"
                continue
            if not isinstance(node, Mapping):
                yield f"{method.upper()} {path}", f"it is {type(node).__name__}, not an object"
                continue
            operation = cast("Node", node)
            own = operation.get("operationId")
            yield Found(own if isinstance(own, str) else "", method, path, operation, item)


def wished_name(found: Found) -> str:
    """The name for the tool, as far as tools may be called that."""
    return _NAME.sub("_", found.id or f"{found.method}{found.path}").strip("_") or found.method


def description_of(found: Found) -> str:
    """What the model is told the operation does."""
    said = [str(found.node[k]).strip() for k in ("summary", "description") if found.node.get(k)]
    text = "\n\n".join(dict.fromkeys(said)) or found.label
    if found.node.get("deprecated") is True:
        text += "\n\nDeprecated."
    return text if len(text) <= DESCRIPTION_CHARS else text[:DESCRIPTION_CHARS] + "…"


def arguments_of(found: Found, document: Document, keys: Keys) -> tuple[Node, tuple[Parameter, ...], BodyForm | None]:
    """The schema of the arguments, and where they go. Raises `Problem` for what no request can be made of."""
    schemas = Schemas(document)
    properties: Node = {}
    required: list[str] = []
    body, body_schema, body_required = _body(found, document)
    taken = {"body"} if body is not None else set[str]()
    parameters: list[Parameter] = []
    for node in _parameters(found, document):
        if _is_own(node, keys):
            continue
        parameter, schema = _parameter(node, taken)
        made = schemas.made(schema)
        if node.get("description"):
            made = {**made, "description": str(node["description"]).strip()}
        properties[parameter.argument] = made
        parameters.append(parameter)
        if node.get("required") is True or parameter.place == "path":
            required.append(parameter.argument)
    _check_path(found, parameters)
    if body is not None:
        properties["body"] = schemas.made(body_schema)
        if body_required:
            required.append("body")
    schema: Node = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schemas.whole({**schema, "additionalProperties": False}), tuple(parameters), body


# --- parameters ---------------------------------------------------------------------------------------------------------


def _parameters(found: Found, document: Document) -> list[Node]:
    """Those of the operation, and those of its path that it does not have itself; by place, so that names are the same each time."""
    nodes: dict[tuple[str, str], Node] = {}
    for holder in (found.item, found.node):
        given: Any = holder.get("parameters") or []
        if not isinstance(given, list):
            raise Problem("its parameters are no list")
        for one in cast("list[Any]", given):
            node = document.node(one, "a parameter")
            name, place = node.get("name"), node.get("in")
            if not isinstance(name, str) or not name or place not in _PLACES:
                raise Problem(f"a parameter has no name, or is in {place!r}")
            nodes[name, str(place)] = node
    return sorted(nodes.values(), key=lambda node: _PLACES.index(node["in"]))


def _is_own(node: Node, keys: Keys) -> bool:
    """Whether it is ours to fill in: a key, or what a request has anyway."""
    name, place = node["name"], node["in"]
    if place == "header" and name.lower() in _OWN_HEADERS:
        return True
    return any(type(k) is ApiKey and k.where == place and k.name.lower() == name.lower() for k in keys.fixed)


def _parameter(node: Node, taken: set[str]) -> tuple[Parameter, Any]:
    name, place = cast("str", node["name"]), cast("Place", node["in"])
    argument = _ARGUMENT.sub("_", name).strip("_")[:50] or place
    if argument in taken:
        argument = f"{argument}_{place}"
    base, n = argument, 2
    while argument in taken:
        argument, n = f"{base}_{n}", n + 1
    taken.add(argument)
    content = node.get("content")
    if isinstance(content, Mapping) and content:
        media_type, media = next(iter(cast("Mapping[str, Node]", content).items()))
        if not is_json(media_type):
            raise Problem(f"the parameter {name!r} is of type {media_type!r}")
        return Parameter(argument, name, place, "form", False, False, True), media.get("schema", {})
    style = str(node.get("style") or _STYLES[place][0])
    if style not in _STYLES[place]:
        raise Problem(f"the parameter {name!r} has the style {style!r}, which is none for {place}")
    explode = node.get("explode")
    exploded = explode if isinstance(explode, bool) else style in ("form", "deepObject")
    return Parameter(argument, name, place, style, exploded, node.get("allowReserved") is True, False), node.get(
        "schema", {}
    )


def _check_path(found: Found, parameters: list[Parameter]) -> None:
    named = set(re.findall(r"\{([^{}]+)\}", found.path))
    known = {p.name for p in parameters if p.place == "path"}
    if named != known:
        raise Problem(f"the path names {sorted(named)}, and its parameters are {sorted(known)}")


# --- bodies -------------------------------------------------------------------------------------------------------------


def _body(found: Found, document: Document) -> tuple[BodyForm | None, Any, bool]:
    if "requestBody" not in found.node:
        return None, None, False
    node = document.node(found.node["requestBody"], "its requestBody")
    content = node.get("content")
    types = cast("dict[str, Node]", content) if isinstance(content, Mapping) else dict[str, Node]()
    for kind, fits in _KINDS:
        for media_type, media in types.items():
            if fits(media_type.partition(";")[0].strip().lower()):
                sent = "application/json" if kind == "json" and "*" in media_type else media_type
                return BodyForm(sent, kind), media.get("schema", {}), node.get("required") is True
    raise Problem(f"its body is of type {', '.join(types) or 'none'}: only JSON, forms and text can be sent")


def is_json(media_type: str) -> bool:
    """Whether it is JSON, under whatever name."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json", "*/*", "application/*") or kind.endswith("+json")


_KINDS: tuple[tuple[BodyKind, Callable[[str], bool]], ...] = (
    ("json", is_json),
    ("form", lambda kind: kind == "application/x-www-form-urlencoded"),
    ("multipart", lambda kind: kind == "multipart/form-data"),
    ("text", lambda kind: kind.startswith("text/")),
)
"""In the order in which they are chosen."""
