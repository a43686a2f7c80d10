"""The rules of Ollama's own chat API that a request should keep.

Sources: docs.ollama.com/api/chat and its OpenAPI document (fields, types), /capabilities/thinking (values of `think`),
/capabilities/tool-calling (a result per call, `tool_name`), /modelfile#parameter (options), and api/types.go of the server
(`truncate`, `shift`, ids of calls). The server itself reads past what it does not know: here it is a problem.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .shape import Closed, Problem, as_list, as_object, decoded_size, is_object, number_in, one_of, read, repeats

_NAMES = "model messages tools format options stream keep_alive think truncate shift logprobs top_logprobs"
_FIELDS = frozenset(_NAMES.split())
_LEVELS = ("low", "medium", "high", "max")
_WHOLE = "num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu main_gpu num_thread mirostat draft_num_predict"
_NUMBERS = "top_p min_p tfs_z typical_p temperature repeat_penalty presence_penalty frequency_penalty mirostat_tau mirostat_eta"
_FLAGS = "numa low_vram f16_kv logits_all vocab_only use_mmap use_mlock penalize_newline"
_OPTIONS: dict[str, Any] = (
    dict.fromkeys(_WHOLE.split(), int)
    | dict.fromkeys(_NUMBERS.split(), float)
    | dict.fromkeys(_FLAGS.split(), bool)
    | {"stop": list[str] | str}
)

Images = list[Annotated[str, msgspec.Meta(min_length=1)]]


class Function(Closed):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    arguments: dict[str, Any]
    index: int = 0


class Call(Closed):
    function: Function
    id: str | None = None


class System(Closed, tag_field="role", tag="system"):
    content: str


class User(Closed, tag_field="role", tag="user"):
    content: str
    images: Images = msgspec.field(default_factory=list)


class Assistant(Closed, tag_field="role", tag="assistant"):
    content: str
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    images: Images = msgspec.field(default_factory=list)


class Tool(Closed, tag_field="role", tag="tool"):
    content: str
    tool_name: Annotated[str, msgspec.Meta(min_length=1)]
    tool_call_id: str | None = None


Message = System | User | Assistant | Tool


class ToolFunction(Closed):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    parameters: dict[str, Any]
    description: str = ""


class ToolDefinition(Closed):
    type: Literal["function"]
    function: ToolFunction


def check(body: dict[str, Any]) -> list[Problem]:
    """The problems of a request body for POST /api/chat; none if the list is empty."""
    problems: list[Problem] = [Problem(name, "unknown field") for name in body if name not in _FIELDS]
    _check_settings(body, problems)
    _check_options(body.get("options"), problems)
    _check_tools(body.get("tools"), problems)
    _check_pairing(_read_messages(body, problems), problems)
    return problems


def _check_settings(body: dict[str, Any], problems: list[Problem]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        problems.append(Problem("model", "model is required"))
    for name in ("stream", "truncate", "shift", "logprobs"):
        one_of(body, name, (True, False), problems)
    number_in(body, "top_logprobs", 0, 20, problems)
    think, form, keep = body.get("think"), body.get("format"), body.get("keep_alive")
    if think is not None and not isinstance(think, bool) and think not in _LEVELS:
        problems.append(Problem("think", f"invalid think value: {think!r}"))
    if form is not None and form not in ("", "json") and not is_object(form):
        problems.append(Problem("format", "must be 'json' or a JSON schema"))
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, str | int | float)):
        problems.append(Problem("keep_alive", "must be a duration or a number of seconds"))


def _check_options(options: object, problems: list[Problem]) -> None:
    if options is not None and not is_object(options):
        problems.append(Problem("options", "must be an object"))
    for name, value in as_object(options).items():
        if name not in _OPTIONS:
            problems.append(Problem(f"options.{name}", "invalid option provided"))
        elif value is not None:
            read(value, _OPTIONS[name], f"options.{name}", problems)


def _check_tools(tools: object, problems: list[Problem]) -> None:
    entries = as_list(tools)
    if tools is not None and entries is not tools:
        problems.append(Problem("tools", "must be an array"))
    names: list[str] = []
    for i, raw in enumerate(entries):
        tool = read(raw, ToolDefinition, f"tools[{i}]", problems)
        if tool is None:
            continue
        names.append(tool.function.name)
        if tool.function.parameters.get("type") != "object":
            problems.append(Problem(f"tools[{i}].function.parameters", "must be a schema of type 'object'"))
    problems += [Problem("tools", f"tool names must be unique: {name}") for name in repeats(names)]


def _read_messages(body: dict[str, Any], problems: list[Problem]) -> list[Message | None]:
    """All messages; what is malformed is reported and None."""
    raw_messages = as_list(body.get("messages"))
    if not raw_messages:
        problems.append(Problem("messages", "without messages the server only loads the model"))
    messages: list[Message | None] = []
    for i, raw in enumerate(raw_messages):
        where = f"messages[{i}]"
        message: Message | None = read(raw, Message, where, problems)  # type: ignore[arg-type]
        messages.append(message)
        if message is not None:
            _check_message(message, where, problems)
    return messages


def _check_message(message: Message, where: str, problems: list[Problem]) -> None:
    if not _says_something(message):
        problems.append(Problem(f"{where}.content", "must not be blank"))
    if isinstance(message, Assistant) and message.tool_calls == []:
        problems.append(Problem(f"{where}.tool_calls", "must not be empty; leave it out if there is none"))
    for n, image in enumerate(message.images if isinstance(message, User | Assistant) else ()):
        if not decoded_size(image):
            problems.append(Problem(f"{where}.images[{n}]", "must be base64 and not empty"))


def _says_something(message: Message) -> bool:
    match message:
        case User():
            return bool(message.content.strip() or message.images)
        case Assistant():
            return bool(message.content.strip() or message.tool_calls)
        case _:
            return bool(message.content.strip())


def _check_pairing(messages: list[Message | None], problems: list[Problem]) -> None:
    """Each call is answered once, by tool messages right after it, by id where both have one, else by name in order."""
    open_calls: list[Call] = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if isinstance(message, Tool):
            answered = next((c for c in open_calls if _answers(message, c)), None)
            if answered is None:
                problems.append(Problem(where, f"a result of {message.tool_name!r} that no call right before asks for"))
            else:
                open_calls.remove(answered)
            continue
        _settle(open_calls, where, problems)
        open_calls = list(message.tool_calls or []) if isinstance(message, Assistant) else []
    _settle(open_calls, "messages", problems)
    ids = [c.id for m in messages if isinstance(m, Assistant) for c in m.tool_calls or [] if c.id]
    problems += [Problem("messages", f"call ids must be unique: {id}") for id in repeats(ids)]


def _settle(open_calls: list[Call], where: str, problems: list[Problem]) -> None:
    if open_calls:
        names = ", ".join([c.function.name for c in open_calls])
        problems.append(Problem(where, f"tool calls without a result: {names}"))


def _answers(result: Tool, call: Call) -> bool:
    if result.tool_call_id is not None and call.id is not None and result.tool_call_id != call.id:
        return False
    return result.tool_name == call.function.name
