"""What is said to a model about tools in words: the instructions, its own earlier calls, their results. See `prompted`."""

from __future__ import annotations

import msgspec

from ...core.content import AssistantBlock, Text, ToolCall, UserBlock
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import Ok, ToolResult
from ...core.request import OneTool, RequestHead
from ..history import scrubbed
from ..unreadable import UNREADABLE
from .text import CLOSE, OPEN

_HOW = f"""\
# Tools

You can call tools. To call one, write a block of exactly this form:

{OPEN}
{{"name": "NAME", "arguments": {{}}}}
{CLOSE}

`NAME` is the name of a tool, `arguments` a JSON object that fits the tool's `parameters`. Write what you want to say before \
the block, and end your answer after it: the results come in the next message, in blocks that begin with <tool_result. Never \
write such a block yourself, and never make up a result."""

_SEVERAL = "Calls that do not depend on each other may be made at once: a block for each."
_ONE_AT_A_TIME = "Call at most one tool in an answer."
_NONE = "Do not call a tool now: answer without."
_REQUIRED = "Your answer must call at least one tool."


class _Tool(msgspec.Struct, frozen=True):
    name: str
    description: str
    parameters: msgspec.Raw


def instructions_with(head: RequestHead) -> str:
    """The instructions, with the tools and how to call them after them."""
    if not head.tools:
        return head.instructions
    settings = head.settings
    lines = [msgspec.json.encode(_Tool(t.name, t.description, msgspec.Raw(t.parameters.encode()))) for t in head.tools]
    said = [_HOW, _ONE_AT_A_TIME if settings.parallel_tool_calls is False else _SEVERAL]
    said.append("The tools:\n\n" + "\n".join([line.decode() for line in lines]))
    match settings.tool_choice:
        case "none":
            said.append(_NONE)
        case "required":
            said.append(_REQUIRED)
        case OneTool(name=name):
            said.append(f"Your answer must call the tool `{name}`.")
        case _:
            pass
    return "\n\n".join(([head.instructions] if head.instructions.strip() else []) + said)


def spoken(message: Message) -> Message:
    """A message without calls or results: they are text. Others are as they were. It depends on nothing but the message
    (rule T7)."""
    if type(message) is ToolMessage:
        return UserMessage(_results(message.results), message.turn, message.step)
    if type(message) is AssistantMessage and message.tool_calls:
        return msgspec.structs.replace(message, body=_said(message.content))
    return message


def _said(body: tuple[AssistantBlock, ...]) -> tuple[AssistantBlock, ...]:
    """What the model said, its calls as it was told to write them, on lines of their own."""
    out: list[AssistantBlock] = []
    ends_line = True
    for block in body:
        if type(block) is ToolCall:
            out.append(Text(("" if ends_line else "\n") + _call(block) + "\n"))
            ends_line = True
        else:
            out.append(block)
            if type(block) is Text and block.text:
                ends_line = block.text.endswith("\n")
    last = out[-1]
    if type(last) is Text:
        out[-1] = msgspec.structs.replace(last, text=last.text.rstrip("\n"))
    return tuple(out)


def _call(call: ToolCall) -> str:
    if call.arguments.startswith(OPEN):
        return call.arguments  # a call that could not be read, as it was written
    arguments = call.arguments if call.arguments.strip() else "{}"
    try:
        msgspec.json.decode(arguments)
    except UNREADABLE:
        arguments = msgspec.json.encode(scrubbed(arguments)).decode()
    name = msgspec.json.encode(scrubbed(call.name)).decode()
    return f'{OPEN}\n{{"name": {name}, "arguments": {arguments}}}\n{CLOSE}'


def _results(results: tuple[ToolResult, ...]) -> tuple[UserBlock, ...]:
    """A block of text for each result, in the order of the calls, with the media of a result right behind its own."""
    out: list[UserBlock] = []
    for number, result in enumerate(results, 1):
        failed = "" if type(result.outcome) is Ok else ' failed="true"'
        text = result.text.replace("</tool_result", "<\\/tool_result")
        out.append(Text(f'<tool_result call="{number}"{failed}>\n{text}\n</tool_result>\n'))
        if not isinstance(result.body, str):
            out += [b for b in result.body if type(b) is not Text]
    return tuple(out)
