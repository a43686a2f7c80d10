"""Documents become tools: whatever they say is either asked of the model in a form it understands, or refused with the place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Tools
from turnwise.errors import ConfigError
from turnwise.openapi import ApiKey, Basic, Bearer
from turnwise.tools import ArgumentsError
from turnwise.tools.openapi.auth import Keys
from turnwise.tools.openapi.operations import BodyForm, Operation, Parameter
from turnwise.tools.openapi.serialised import written

OPERATION: dict[str, Any] = {"operationId": "list_pets", "responses": {}}


def document(paths: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "servers": [{"url": "https://pets.test/v1"}],
        "paths": {"/pets": {"get": OPERATION}} if paths is None else paths,
        **more,
    }


def one(operation: dict[str, Any], path: str = "/pets", method: str = "get", **more: Any) -> Any:
    """The schema that the model sees of this operation."""
    spec = document({path: {method: operation}}, **more)
    return json.loads(next(iter(Tools.from_openapi(spec, only=[f"{method} {path}"]))).spec.parameters)


def query(schema: Any, **more: Any) -> dict[str, Any]:
    return {"parameters": [{"name": "q", "in": "query", "schema": schema, **more}]}


def body(schema: Any, kind: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"requestBody": {"content": {kind: {"schema": schema}}, **more}}


# --- reading --------------------------------------------------------------------------------------------------------------

YAML = """
openapi: 3.1.0
servers: [{url: https://pets.test}]
paths:
  /pets/{on}:
    get:
      operationId: pet
      description: Since 2024-01-01
      parameters:
        - {name: on, in: path, required: true, schema: {type: string, default: 2024-01-01, enum: [no, on, 2024-01-01]}}
      responses: {200: {description: fine}}
"""


def test_a_document_is_read_from_whatever_it_is_given_as(tmp_path: Path) -> None:
    spec = document()
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec), "utf-8")
    yaml_file = tmp_path / "spec.yaml"
    yaml_file.write_text(YAML, "utf-8")
    for given_as in (spec, json.dumps(spec), json.dumps(spec, indent=1).encode(), file, str(file)):
        assert Tools.from_openapi(given_as).names == ("list_pets",)
    for given_as in (YAML, YAML.encode(), yaml_file):
        assert Tools.from_openapi(given_as).names == ("pet",)


def test_yaml_is_read_as_what_json_can_say() -> None:
    """Dates stay text, `no` and `on` are words."""
    schema = json.loads(Tools.from_openapi(YAML)["pet"].spec.parameters)
    assert schema["properties"]["on"]["enum"] == ["no", "on", "2024-01-01"]


def test_yaml_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """I1"""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError) as raised:
        Tools.from_openapi(YAML)
    assert raised.value.code == "missing_extra" and "turnwise[yaml]" in raised.value.hint
    assert len(Tools.from_openapi(document())) == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{", "not valid JSON"),
        ("a: b: c\n", "neither JSON nor YAML"),
        ("[]", "not an object"),
        ("https://pets.test/openapi.json", "load it first"),
        ("no/such/file.json", "cannot be read"),
        ({"swagger": "2.0"}, "Swagger 2.0"),
        ({"openapi": "4.0"}, "version"),
        ({}, "3.x"),
        (document({}), "no operation"),
        ({"openapi": "3.1.0", "paths": []}, "no operation"),
        ({"openapi": "3.1.0", "paths": ["x"]}, "paths"),
        (document(servers=[{"url": "/v1"}]), "base_url"),
        (document(servers=[]), "base_url"),
    ],
)
def test_what_is_no_document_is_refused(spec: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Tools.from_openapi(spec)
    assert raised.value.code == "bad_openapi"


# --- which operations -------------------------------------------------------------------------------------------------------


def many() -> dict[str, Any]:
    return document(
        {
            "/pets": {
                "get": {"operationId": "pets.list", "tags": ["pets", "fast"]},
                "post": {"operationId": "pets list"},
            },
            "/shops/{id}": {
                "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}],
                "get": {},
                "delete": {"tags": ["shops"], "summary": "Close it.", "description": "For good.", "deprecated": True},
                "head": {},
            },
            "/odd": {"post": body({"type": "string"}, "application/xml")},
            "/broken": {"get": {"parameters": [{"$ref": "#/components/parameters/None"}]}},
            "x-internal": {},
        }
    )


def test_names_are_valid_and_each_is_there_once() -> None:
    tools = Tools.from_openapi(many())
    assert tools.names == ("pets_list", "pets_list_2", "get_shops_id", "delete_shops_id")
    long = document({f"/{'x' * 100}/{n}": {"get": {}} for n in range(12)})
    names = Tools.from_openapi(long).names
    assert len(set(names)) == 12 and max(map(len, names)) == 64
    assert Tools.from_openapi(many(), prefix="shop_").names[0] == "shop_pets_list"


def test_what_cannot_be_a_tool_is_left_out_and_told() -> None:
    left_out = Tools.from_openapi(many()).left_out
    assert list(left_out) == ["HEAD /shops/{id}", "POST /odd", "GET /broken"]
    assert "application/xml" in left_out["POST /odd"] and "leads nowhere" in left_out["GET /broken"]


def test_what_was_asked_for_has_to_be_right_and_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Tools.from_openapi(many(), only=["POST /odd", "GET /broken", "pets.lisd", "head /shops/{id}", "pets.list"])
    said = raised.value.message
    for part in ("application/xml", "leads nowhere", "'pets.lisd'", "Did you mean 'pets.list'", "HEAD"):
        assert part in said


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["pets.list"], ["pets_list"]),
        (["pets_list"], ["pets_list"]),
        (["get /pets"], ["pets_list"]),
        (["*shops*"], ["get_shops_id", "delete_shops_id"]),
        (["GET /*"], ["pets_list", "get_shops_id"]),
        (["delete_shops_id", "pets list"], ["pets_list_2", "delete_shops_id"]),
    ],
)
def test_operations_are_chosen_in_the_order_of_the_document(only: list[str], names: list[str]) -> None:
    spec = many()
    del spec["paths"]["/broken"]
    assert [tool.name for tool in Tools.from_openapi(spec, only=only)] == names


def test_what_a_tool_is_follows_from_its_operation() -> None:
    tools = Tools.from_openapi(many(), timeout_s=3, retries=2, max_result_chars=None)
    listing, closing = tools["pets_list"], tools["delete_shops_id"]
    assert (listing.category, listing.tags, listing.permission) == ("pets", ("pets", "fast"), "network")
    assert listing.read_only and listing.idempotent and listing.retries == 2 and listing.timeout_s == 3
    assert not closing.read_only and not closing.idempotent and closing.retries == 0  # E6
    assert closing.spec.description == "Close it.\n\nFor good.\n\nDeprecated."
    assert tools["get_shops_id"].spec.description == "GET /shops/{id}"
    assert tools.only(tag="shops").names == ("delete_shops_id",)


def test_the_same_document_gives_the_same_bytes() -> None:
    """T7"""
    assert [t.spec for t in Tools.from_openapi(many())] == [t.spec for t in Tools.from_openapi(many())]


# --- arguments ----------------------------------------------------------------------------------------------------------------


def test_parameters_of_one_name_are_told_apart() -> None:
    operation = {
        "parameters": [
            {"name": "id", "in": "query", "schema": {"type": "integer"}},
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "id", "in": "header", "schema": {"type": "string"}, "required": True},
            {"name": "body", "in": "query", "schema": {}},
            {"name": "filter[name]", "in": "query", "schema": {"type": "string"}, "description": "Whose."},
            {"name": "filter(name)", "in": "query", "schema": {"type": "string"}},
            {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
        ],
        **body({"type": "object"}, required=True),
    }
    schema = one(operation, "/pets/{id}", "post")
    assert list(schema["properties"]) == [
        "id",
        "id_query",
        "body_query",
        "filter_name",
        "filter_name_query",
        "id_header",
        "body",
    ]
    assert schema["required"] == ["id", "id_header", "body"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["filter_name"]["description"] == "Whose."


def test_a_parameter_of_the_operation_stands_before_that_of_its_path() -> None:
    spec = document({"/a": {"parameters": query({"type": "string"})["parameters"], "get": query({"type": "integer"})}})
    assert json.loads(Tools.from_openapi(spec)["get_a"].spec.parameters)["properties"] == {"q": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 1}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": False}, {"type": "integer", "minimum": 1}),
        ({"type": "integer", "exclusiveMaximum": 5}, {"type": "integer", "exclusiveMaximum": 5}),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        ({"type": "string", "example": "x", "x-order": 1, "xml": {}, "deprecated": True}, {"type": "string"}),
        ({"oneOf": [{"type": "string"}], "nullable": True}, {"anyOf": [{"oneOf": [{"type": "string"}]}, {"type": "null"}]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "object", "properties": {"a": True, "b": False}}, {"type": "object", "properties": {"a": {}, "b": {"not": {}}}}),
        (True, {}),
        ({"type": "object", "properties": {"$ref": {"type": "string"}}}, {"type": "object", "properties": {"$ref": {"type": "string"}}}),
    ],
)  # fmt: skip
def test_schemas_of_all_versions_become_json_schemas(schema: Any, made: Any) -> None:
    assert one(query(schema))["properties"]["q"] == made


COMPONENTS = {
    "schemas": {
        "Pet": {
            "type": "object",
            "required": ["id", "name"],
            "properties": {
                "id": {"type": "integer", "readOnly": True},
                "name": {"$ref": "#/components/schemas/Name", "description": "What it is called."},
                "mother": {"$ref": "#/components/schemas/Pet"},
                "made": {"$ref": "#/components/schemas/Made"},
            },
        },
        "Name": {"type": "string", "maxLength": 9},
        "Made": {"type": "string", "readOnly": True},
        "Ring": {"$ref": "#/components/schemas/Ring2"},
        "Ring2": {"$ref": "#/components/schemas/Ring"},
        "Alias": {"$ref": "#/components/schemas/Name"},
    },
    "parameters": {"Q": {"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/Alias"}}},
    "requestBodies": {"B": body({"$ref": "#/components/schemas/Pet"})["requestBody"]},
}


def test_references_are_followed_also_in_rings() -> None:
    operation = {
        "parameters": [{"$ref": "#/components/parameters/Q"}],
        "requestBody": {"$ref": "#/components/requestBodies/B"},
    }
    schema = one(operation, "/pets", "post", components=COMPONENTS)
    assert schema["properties"]["q"] == {"type": "string", "maxLength": 9}
    pet = schema["$defs"]["Pet"]
    assert schema["properties"]["body"] == {"$ref": "#/$defs/Pet"}
    assert pet["properties"] == {
        "name": {"type": "string", "maxLength": 9, "description": "What it is called."},
        "mother": {"$ref": "#/$defs/Pet"},
    }, "what only the server sets is not asked for"
    assert pet["required"] == ["name"]


def test_arguments_are_checked_through_references() -> None:
    spec = document({"/pets": {"post": body({"$ref": "#/components/schemas/Pet"})}}, components=COMPONENTS)
    tool = Tools.from_openapi(spec)["post_pets"]
    good = '{"body": {"name": "Rex", "mother": {"name": "Lea"}}}'
    assert tool.decode(good) == json.loads(good)
    for wrong in ('{"body": {"name": "Rex", "mother": {"name": "much too long"}}}', '{"body": {}}', '{"other": 1}'):
        with pytest.raises(ArgumentsError):
            tool.decode(wrong)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("#/components/schemas/Ring", "leads back to itself"),
        ("#/components/schemas/None", "leads nowhere"),
        ("other.yaml#/Pet", "out of the document"),
        ("https://x.test/pet.json", "out of the document"),
    ],
)
def test_references_that_lead_nowhere_are_told(ref: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        one(query({"$ref": ref}), components=COMPONENTS)


def test_references_go_anywhere_in_the_document() -> None:
    operation = query({"$ref": "#/paths/~1pets~1{id}/x-types/0"})
    spec = document({"/pets/{id}": {"x-types": [{"type": "integer"}]}, "/a": {"get": operation}})
    assert json.loads(Tools.from_openapi(spec)["get_a"].spec.parameters)["properties"]["q"] == {"type": "integer"}


def test_definitions_that_would_become_long_stay_apart() -> None:
    """Each refers twice to the next one: written out these would be millions of parts."""
    chain = {
        f"S{n}": {"type": "object", "properties": {k: {"$ref": f"#/components/schemas/S{n + 1}"} for k in "ab"}}
        for n in range(24)
    }
    schema = one(
        body({"$ref": "#/components/schemas/S0"}),
        "/a",
        "post",
        components={"schemas": {**chain, "S24": {"type": "string"}}},
    )
    assert len(schema["$defs"]) == 25
    assert len(json.dumps(schema)) < 10_000


@pytest.mark.parametrize(
    "operation",
    [
        {"parameters": {"a": 1}},
        {"parameters": [3]},
        {"parameters": [{"in": "query"}]},
        {"parameters": [{"name": "q", "in": "cellar"}]},
        query({"type": "string"}, style="wrong"),
        query([]),
        {"parameters": [{"name": "q", "in": "query", "content": {"text/xml": {}}}]},
        {"requestBody": []},
        {"requestBody": {"content": {}}},
        {"tags": 3},
        {"servers": [3]},
        {"parameters": [{"name": "id", "in": "path", "schema": {}}]},
    ],
)  # fmt: skip
def test_operations_that_are_wrong_are_told_with_their_place(operation: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="POST /pets") as raised:
        one(operation, method="post")
    assert raised.value.code == "bad_openapi"


@pytest.mark.parametrize("path", ["pets", "//evil.test/pets", "@evil.test"])
def test_no_path_changes_the_host(path: str) -> None:
    with pytest.raises(ConfigError, match="does not begin with one /"):
        Tools.from_openapi(document({path: {"get": OPERATION}}), only=["list_pets"])


# --- serialising ----------------------------------------------------------------------------------------------------------------


def parameter(place: Any, style: str, explode: bool, reserved: bool = False, as_json: bool = False) -> Parameter:
    return Parameter("p", "p", place, style, explode, reserved, as_json)


def url_of(one: Parameter, value: Any) -> str:
    path = "/x/{p}/y" if one.place == "path" else "/x"
    return written(Operation("GET /x", "get", "https://h", path, (one,), None, Keys()), {"p": value}, {}).url[9:]


COLOURS, RGB = ["blue", "black"], {"R": 100, "G": 200}


@pytest.mark.parametrize(
    ("one", "value", "text"),
    [
        (parameter("path", "simple", False), COLOURS, "/x/blue,black/y"),
        (parameter("path", "simple", False), RGB, "/x/R,100,G,200/y"),
        (parameter("path", "simple", True), RGB, "/x/R=100,G=200/y"),
        (parameter("path", "label", False), "blue", "/x/.blue/y"),
        (parameter("path", "label", False), COLOURS, "/x/.blue,black/y"),
        (parameter("path", "label", True), COLOURS, "/x/.blue.black/y"),
        (parameter("path", "label", True), RGB, "/x/.R=100.G=200/y"),
        (parameter("path", "matrix", False), "blue", "/x/;p=blue/y"),
        (parameter("path", "matrix", False), COLOURS, "/x/;p=blue,black/y"),
        (parameter("path", "matrix", True), COLOURS, "/x/;p=blue;p=black/y"),
        (parameter("path", "matrix", True), RGB, "/x/;R=100;G=200/y"),
        (parameter("path", "simple", False), "a b/ü?#{p}", "/x/a%20b%2F%C3%BC%3F%23%7Bp%7D/y"),
        (parameter("path", "simple", False), 3, "/x/3/y"),
        (parameter("query", "form", True), "a&b=c d+e", "/x?p=a%26b%3Dc%20d%2Be"),
        (parameter("query", "form", True), True, "/x?p=true"),
        (parameter("query", "form", True), 1.5, "/x?p=1.5"),
        (parameter("query", "form", True), "", "/x?p="),
        (parameter("query", "form", True), COLOURS, "/x?p=blue&p=black"),
        (parameter("query", "form", False), COLOURS, "/x?p=blue,black"),
        (parameter("query", "form", True), RGB, "/x?R=100&G=200"),
        (parameter("query", "form", False), RGB, "/x?p=R,100,G,200"),
        (parameter("query", "spaceDelimited", False), COLOURS, "/x?p=blue%20black"),
        (parameter("query", "pipeDelimited", False), COLOURS, "/x?p=blue|black"),
        (parameter("query", "deepObject", True), {"R": 1, "in": {"a": ["x", "y"]}}, "/x?p[R]=1&p[in][a]=x&p[in][a]=y"),
        (parameter("query", "form", True, reserved=True), "a/b?c&d", "/x?p=a/b?c%26d"),
        (parameter("query", "form", True, as_json=True), {"a": [1]}, "/x?p=%7B%22a%22%3A%5B1%5D%7D"),
        (parameter("query", "form", True), None, "/x"),
        (parameter("query", "form", True), [], "/x"),
        (parameter("query", "form", False), [], "/x"),
    ],
)
def test_styles_of_parameters(one: Parameter, value: Any, text: str) -> None:
    """The examples of the OpenAPI specification, and what they leave out."""
    assert url_of(one, value) == text


@pytest.mark.parametrize("value", ["", ".", "..", "../admin", "a/../b", "..\\b", None, ["..", ".."][:1]])
def test_a_value_in_a_path_is_no_other_path(value: Any) -> None:
    with pytest.raises(ArgumentsError, match="cannot stand in a path"):
        if value is None:
            value = ""
        url_of(parameter("path", "simple", False), value)


@given(st.text(max_size=30), st.sampled_from(["simple", "label", "matrix"]), st.booleans())
def test_whatever_a_model_says_stays_in_its_segment(value: str, style: str, explode: bool) -> None:
    try:
        url = url_of(parameter("path", style, explode), value)
    except ArgumentsError:
        return
    assert url.startswith("/x/") and url.endswith("/y") and url.count("/") == 3
    assert url.isascii() and not set(url) & set(" ?#\\\r\n")


def headers_for(value: Any, explode: bool = False) -> dict[str, str]:
    one = parameter("header", "simple", explode)
    return written(Operation("GET /x", "get", "https://h", "/x", (one,), None, Keys()), {"p": value}, {}).headers


def test_headers_and_cookies() -> None:
    assert headers_for(COLOURS)["p"] == "blue,black"
    assert headers_for(RGB)["p"] == "R,100,G,200"
    assert headers_for(RGB, True)["p"] == "R=100,G=200"
    cookie = parameter("cookie", "form", True)
    keys = Keys((ApiKey("k;1", "sid", "cookie"), ApiKey("q&", "key", "query"), Basic("a", "b")))
    made = written(Operation("GET /x", "get", "https://h", "/x", (cookie,), None, keys), {"p": "a;b"}, {"X-Own": "1"})
    assert made.headers["Cookie"] == "p=a%3Bb; sid=k%3B1"
    assert made.headers["Authorization"] == "Basic YTpi" and made.headers["X-Own"] == "1"
    assert made.url == "https://h/x?key=q%26"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "\0", "größe", ["a\n"], {"a": "\n"}])
def test_no_header_breaks_out_of_its_line(value: Any) -> None:
    with pytest.raises(ArgumentsError, match="cannot stand in a header"):
        headers_for(value)


def sent(kind: Any, media_type: str, value: Any) -> tuple[str, bytes]:
    form = BodyForm(media_type, kind)
    made = written(Operation("POST /x", "post", "https://h", "/x", (), form, Keys()), {"body": value}, {})
    return made.headers["Content-Type"], made.body


def test_bodies() -> None:
    assert sent("json", "application/vnd.api+json", {"a": None}) == ("application/vnd.api+json", b'{"a":null}')
    assert sent("text", "text/plain", "hi") == ("text/plain", b"hi")
    fields = {"a": "1 &", "b": ["x", "y"], "c": None, "d": {"e": 1}, "f": True}
    assert (
        sent("form", "application/x-www-form-urlencoded", fields)[1] == b"a=1%20%26&b=x&b=y&d=%7B%22e%22%3A1%7D&f=true"
    )
    kind, data = sent("multipart", "multipart/form-data", {"a": "1", 'b"\r\n': {"e": 1}})
    boundary = kind.partition("boundary=")[2].encode()
    assert data.count(b"--" + boundary) == 3 and data.endswith(b"--" + boundary + b"--\r\n")
    assert b'name="a"\r\n\r\n1\r\n' in data and b'name="b\\"%0D%0A"\r\nContent-Type: application/json' in data
    assert sent("multipart", "multipart/form-data", {"a": "1", 'b"\r\n': {"e": 1}}) == (kind, data)  # T7
    with pytest.raises(ArgumentsError, match="A form is an object"):
        sent("form", "application/x-www-form-urlencoded", 3)


def test_what_cannot_be_written_is_told_when_arguments_are_decoded() -> None:
    """E2: before anybody is asked whether the call may run."""
    operation = {"operationId": "a", "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}]}
    tool = Tools.from_openapi(document({"/a/{id}": {"get": operation}}))["a"]
    with pytest.raises(ArgumentsError, match="cannot stand in a path"):
        tool.decode('{"id": "../b"}')


# --- keys ----------------------------------------------------------------------------------------------------------------------


def test_secrets_show_nowhere() -> None:
    """P6"""
    for secret in (Bearer("tok-en"), Basic("ann", "tok-en"), ApiKey("tok-en", "X-Key")):
        assert "tok-en" not in repr(secret) and "tok-en" not in str([secret])


SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "Basic"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "key"},
    "oauth": {"type": "oauth2", "flows": {}},
    "digest": {"type": "http", "scheme": "digest"},
}


def asked_with(auth: Any, security: Any, names: tuple[str, ...] = tuple(SCHEMES)) -> list[Any]:
    components = {"securitySchemes": {n: SCHEMES[n] for n in names}}
    operation = {"operationId": "a", "parameters": [{"name": "key", "in": "query", "schema": {}}]}
    if security is not None:
        operation["security"] = security
    tool = Tools.from_openapi(document({"/a": {"get": operation}}, components=components), auth=auth, only=["a"])["a"]
    found = next(c.cell_contents for c in tool.function.__closure__ if isinstance(c.cell_contents, Operation))  # pyright: ignore
    return [found.keys.fixed, [p.argument for p in found.parameters]]


@pytest.mark.parametrize(
    ("auth", "security", "names", "fixed"),
    [
        ("k", [{"header": []}], tuple(SCHEMES), (ApiKey("k", "X-Key"),)),
        ("k", [{"oauth": []}], tuple(SCHEMES), (Bearer("k"),)),
        ("a:b", [{"basic": []}], tuple(SCHEMES), (Basic("a", "b"),)),
        ("k", None, ("header",), (ApiKey("k", "X-Key"),)),
        ("k", None, (), (Bearer("k"),)),
        ("k", [], tuple(SCHEMES), ()),
        ("k", [{}], tuple(SCHEMES), ()),
        (None, [{"header": []}], tuple(SCHEMES), ()),
        ("k", [{"header": [], "query": []}, {"bearer": []}], tuple(SCHEMES), (Bearer("k"),)),
        ({"header": "h", "query": "q"}, [{"oauth": []}, {"header": [], "query": []}], tuple(SCHEMES), (ApiKey("h", "X-Key"), ApiKey("q", "key", "query"))),
        ({"header": "h"}, [{"query": []}], tuple(SCHEMES), ()),
        ({"digest": Bearer("t")}, [{"digest": []}], tuple(SCHEMES), (Bearer("t"),)),
        (Basic("a", "b"), [{"header": []}], tuple(SCHEMES), (Basic("a", "b"),)),
    ],
)  # fmt: skip
def test_keys_go_where_the_document_wants_them(auth: Any, security: Any, names: tuple[str, ...], fixed: Any) -> None:
    assert asked_with(auth, security, names)[0] == fixed


def test_a_key_is_not_asked_of_the_model() -> None:
    assert asked_with("k", [{"query": []}])[1] == []
    assert asked_with("k", [{"header": []}])[1] == ["key"]


@pytest.mark.parametrize(
    ("auth", "security", "said"),
    [
        ("k", [{"header": [], "query": []}], "several keys at once"),
        ("k", [{"digest": []}], "needs a function"),
        ("k", [{"basic": []}], "user and a password"),
        ("k", [{"nope": []}], "does not have"),
        ({"heeder": "k"}, [{"header": []}], "'heeder'"),
    ],
)
def test_keys_that_have_no_place_are_refused(auth: Any, security: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked_with(auth, security)


@pytest.mark.parametrize(
    "options", [{"base_url": "ftp://x"}, {"base_url": "x"}, {"prefix": "a b"}, {"headers": {"a b": "c"}}, {"headers": {"a": "\n"}}]
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        Tools.from_openapi(document(), **options)


def base_of(spec: dict[str, Any], **options: Any) -> str:
    tool = next(iter(Tools.from_openapi(spec, **options)))
    return next(c.cell_contents for c in tool.function.__closure__ if isinstance(c.cell_contents, Operation)).base_url  # pyright: ignore


def test_the_server_is_the_nearest_that_is_named() -> None:
    assert base_of(document()) == "https://pets.test/v1"
    own = document({"/a": {"servers": [{"url": "https://b.test/"}], "get": {"servers": [{"url": "https://c.test"}]}}})
    assert base_of(own) == "https://c.test"
    del own["paths"]["/a"]["get"]["servers"]
    assert base_of(own) == "https://b.test"
    assert base_of(own, base_url="http://127.0.0.1:1/x/") == "http://127.0.0.1:1/x"
    variables = {"region": {"default": "eu"}}
    assert base_of(document(servers=[{"url": "https://{region}.test", "variables": variables}])) == "https://eu.test"
    assert base_of(document(servers=[{"url": "/v1"}]), base_url="https://x.test/v1") == "https://x.test/v1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["get", "$ref", "#/paths", "type", "object", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["/a", "get", "post", "parameters", "requestBody", "content", "schema", "$ref", "name", "in", "type", "properties", "servers",
         "url", "security", "tags", "operationId", "application/json", "items", "required", "enum", "allOf"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_no_document_makes_anything_else_than_tools_or_a_config_error(paths: Any) -> None:
    try:
        Tools.from_openapi(
            {"openapi": "3.1.0", "servers": [{"url": "https://x.test"}], "paths": {"/a": paths}}, auth="k"
        )
    except ConfigError as error:
        assert error.code in ("bad_openapi", "duplicate_tool")
