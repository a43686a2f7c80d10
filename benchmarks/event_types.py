"""The base line of decoding.py: what each API's stream events hold that a reader needs, as `msgspec` types and nothing around them.

One type per API, from the API's documents. It names the deltas, the blocks and calls that are sent whole, who answers, why the
answer stopped and the token counts, all decoded at once: no field is left raw to be read later. What a reader does not need
(repeats of what was streamed, padding, metrics) is not named, so skipping it costs the base line as little as it can. Sources:
https://platform.openai.com/docs/api-reference/chat-streaming and /responses-streaming,
https://platform.claude.com/docs/en/build-with-claude/streaming, https://ai.google.dev/api/generate-content,
https://docs.cohere.com/reference/chat-stream, https://docs.ollama.com/api/chat,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Shape(Struct, frozen=True, gc=False):
    """The cheapest kind of value that msgspec makes."""


# --- Chat Completions -------------------------------------------------------------------------------------------------


class ChatFunction(Shape, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class ChatCall(Shape, frozen=True, gc=False):
    index: int | None = None
    id: str | None = None
    function: ChatFunction | None = None


class ChatDelta(Shape, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[ChatCall] | None = None
    annotations: list[dict[str, Any]] | None = None


class ChatChoice(Shape, frozen=True, gc=False):
    index: int = 0
    delta: ChatDelta | None = None
    finish_reason: str | None = None


class ChatInput(Shape, frozen=True, gc=False):
    cached_tokens: int | None = None


class ChatOutput(Shape, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class ChatCounts(Shape, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: ChatInput | None = None
    completion_tokens_details: ChatOutput | None = None
    prompt_cache_hit_tokens: int | None = None


class ChatGroq(Shape, frozen=True, gc=False):
    usage: ChatCounts | None = None


class ChatChunk(Shape, frozen=True, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[ChatChoice] = []
    usage: ChatCounts | None = None
    x_groq: ChatGroq | None = None


# --- Responses --------------------------------------------------------------------------------------------------------


class OfItem(Struct, frozen=True, gc=False, tag_field="type"):
    id: str | None = None
    status: str | None = None


class ResponsesPart(Shape, frozen=True, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None


class MessageItem(OfItem, frozen=True, gc=False, tag="message"):
    content: list[ResponsesPart] = []
    phase: str | None = None


class ReasoningItem(OfItem, frozen=True, gc=False, tag="reasoning"):
    summary: list[ResponsesPart] = []
    content: list[ResponsesPart] | None = None
    encrypted_content: str | None = None


class FunctionItem(OfItem, frozen=True, gc=False, tag="function_call"):
    call_id: str = ""
    name: str = ""
    arguments: str | None = None


class CustomItem(OfItem, frozen=True, gc=False, tag="custom_tool_call"):
    call_id: str = ""
    name: str = ""
    input: str | None = None


class WebSearchItem(OfItem, frozen=True, gc=False, tag="web_search_call"):
    action: dict[str, Any] | None = None


class FileSearchItem(OfItem, frozen=True, gc=False, tag="file_search_call"):
    queries: list[str] = []
    results: list[dict[str, Any]] | None = None


class CodeItem(OfItem, frozen=True, gc=False, tag="code_interpreter_call"):
    code: str | None = None
    container_id: str | None = None
    outputs: list[dict[str, Any]] | None = None


class ImageItem(OfItem, frozen=True, gc=False, tag="image_generation_call"):
    result: str | None = None
    output_format: str | None = None


class McpListItem(OfItem, frozen=True, gc=False, tag="mcp_list_tools"):
    server_label: str = ""
    tools: list[dict[str, Any]] = []
    error: Any = None


class McpItem(OfItem, frozen=True, gc=False, tag="mcp_call"):
    server_label: str = ""
    name: str = ""
    arguments: str = ""
    output: str | None = None
    error: Any = None
    approval_request_id: str | None = None


Item = (
    MessageItem
    | ReasoningItem
    | FunctionItem
    | CustomItem
    | WebSearchItem
    | FileSearchItem
    | CodeItem
    | ImageItem
    | McpListItem
    | McpItem
)


class OfResponses(Struct, frozen=True, gc=False, tag_field="type"):
    """Told apart by its `type`."""


class OutputTextDelta(OfResponses, frozen=True, gc=False, tag="response.output_text.delta"):
    delta: str
    output_index: int = 0
    content_index: int = 0


class PieceOfItem(OfResponses, frozen=True, gc=False):
    delta: str
    output_index: int = 0


class SummaryDelta(PieceOfItem, frozen=True, gc=False, tag="response.reasoning_summary_text.delta"):
    pass


class ReasoningDelta(PieceOfItem, frozen=True, gc=False, tag="response.reasoning_text.delta"):
    pass


class ArgumentsDelta(PieceOfItem, frozen=True, gc=False, tag="response.function_call_arguments.delta"):
    pass


class InputDelta(PieceOfItem, frozen=True, gc=False, tag="response.custom_tool_call_input.delta"):
    pass


class ItemAdded(OfResponses, frozen=True, gc=False, tag="response.output_item.added"):
    item: Item
    output_index: int = 0


class ItemDone(OfResponses, frozen=True, gc=False, tag="response.output_item.done"):
    item: Item
    output_index: int = 0


class ResponsesInput(Shape, frozen=True, gc=False):
    cached_tokens: int | None = None


class ResponsesOutput(Shape, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class ResponsesCounts(Shape, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: ResponsesInput | None = None
    output_tokens_details: ResponsesOutput | None = None


class IncompleteDetails(Shape, frozen=True, gc=False):
    reason: str | None = None


class WholeResponse(Shape, frozen=True, gc=False):
    """Its items are not named: each was told of by an event of its own."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    error: dict[str, Any] | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponsesCounts | None = None


class OfWhole(OfResponses, frozen=True, gc=False):
    response: WholeResponse


class Created(OfWhole, frozen=True, gc=False, tag="response.created"):
    pass


class Completed(OfWhole, frozen=True, gc=False, tag="response.completed"):
    pass


class Incomplete(OfWhole, frozen=True, gc=False, tag="response.incomplete"):
    pass


class FailedResponse(OfWhole, frozen=True, gc=False, tag="response.failed"):
    pass


class Repeat(OfResponses, frozen=True, gc=False):
    """Says nothing that another event does not say."""


class InProgress(Repeat, frozen=True, gc=False, tag="response.in_progress"):
    pass


class PartAdded(Repeat, frozen=True, gc=False, tag="response.content_part.added"):
    pass


class PartDone(Repeat, frozen=True, gc=False, tag="response.content_part.done"):
    pass


class TextDone(Repeat, frozen=True, gc=False, tag="response.output_text.done"):
    pass


class AnnotationAdded(Repeat, frozen=True, gc=False, tag="response.output_text.annotation.added"):
    pass


class ArgumentsDone(Repeat, frozen=True, gc=False, tag="response.function_call_arguments.done"):
    pass


class InputDone(Repeat, frozen=True, gc=False, tag="response.custom_tool_call_input.done"):
    pass


class SummaryPartAdded(Repeat, frozen=True, gc=False, tag="response.reasoning_summary_part.added"):
    pass


class SummaryPartDone(Repeat, frozen=True, gc=False, tag="response.reasoning_summary_part.done"):
    pass


class SummaryDone(Repeat, frozen=True, gc=False, tag="response.reasoning_summary_text.done"):
    pass


class ReasoningDone(Repeat, frozen=True, gc=False, tag="response.reasoning_text.done"):
    pass


ResponsesEvent = (
    OutputTextDelta
    | SummaryDelta
    | ReasoningDelta
    | ArgumentsDelta
    | InputDelta
    | ItemAdded
    | ItemDone
    | Created
    | Completed
    | Incomplete
    | FailedResponse
    | InProgress
    | PartAdded
    | PartDone
    | TextDone
    | AnnotationAdded
    | ArgumentsDone
    | InputDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryDone
    | ReasoningDone
)


# --- Anthropic Messages -----------------------------------------------------------------------------------------------


class TextBlock(Struct, frozen=True, gc=False, tag="text"):
    text: str = ""


class ThinkingBlock(Struct, frozen=True, gc=False, tag="thinking"):
    thinking: str = ""
    signature: str | None = None


class RedactedBlock(Struct, frozen=True, gc=False, tag="redacted_thinking"):
    data: str


class CallBlock(Struct, frozen=True, gc=False, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class ServerCallBlock(Struct, frozen=True, gc=False, tag="server_tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class SearchBlock(Struct, frozen=True, gc=False, tag="web_search_tool_result"):
    tool_use_id: str
    content: Any


class FetchBlock(Struct, frozen=True, gc=False, tag="web_fetch_tool_result"):
    tool_use_id: str
    content: Any


class BashBlock(Struct, frozen=True, gc=False, tag="bash_code_execution_tool_result"):
    tool_use_id: str
    content: Any


class CodeBlock(Struct, frozen=True, gc=False, tag="code_execution_tool_result"):
    tool_use_id: str
    content: Any


class TextPiece(Struct, frozen=True, gc=False, tag="text_delta"):
    text: str


class ThinkingPiece(Struct, frozen=True, gc=False, tag="thinking_delta"):
    thinking: str


class SignaturePiece(Struct, frozen=True, gc=False, tag="signature_delta"):
    signature: str


class InputPiece(Struct, frozen=True, gc=False, tag="input_json_delta"):
    partial_json: str


class CitationPiece(Struct, frozen=True, gc=False, tag="citations_delta"):
    citation: dict[str, Any]


class AnthropicOutput(Shape, frozen=True, gc=False):
    thinking_tokens: int | None = None


class AnthropicCounts(Shape, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: AnthropicOutput | None = None


class AnthropicMessage(Shape, frozen=True, gc=False):
    id: str | None = None
    model: str | None = None
    usage: AnthropicCounts | None = None


class AnthropicStop(Shape, frozen=True, gc=False):
    stop_reason: str | None = None


class MessageStart(Struct, frozen=True, gc=False, tag="message_start"):
    message: AnthropicMessage


class BlockStart(Struct, frozen=True, gc=False, tag="content_block_start"):
    index: int
    content_block: (
        TextBlock
        | ThinkingBlock
        | RedactedBlock
        | CallBlock
        | ServerCallBlock
        | SearchBlock
        | FetchBlock
        | BashBlock
        | CodeBlock
    )


class BlockDelta(Struct, frozen=True, gc=False, tag="content_block_delta"):
    index: int
    delta: TextPiece | ThinkingPiece | SignaturePiece | InputPiece | CitationPiece


class BlockStop(Struct, frozen=True, gc=False, tag="content_block_stop"):
    index: int


class MessageDelta(Struct, frozen=True, gc=False, tag="message_delta"):
    delta: AnthropicStop
    usage: AnthropicCounts | None = None


class MessageStop(Struct, frozen=True, gc=False, tag="message_stop"):
    pass


class Ping(Struct, frozen=True, gc=False, tag="ping"):
    pass


AnthropicEvent = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping


# --- Gemini -----------------------------------------------------------------------------------------------------------


class GeminiCall(Shape, frozen=True, gc=False):
    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None


class GeminiBlob(Shape, frozen=True, gc=False):
    mimeType: str = ""
    data: str = ""


class GeminiPart(Shape, frozen=True, gc=False):
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: GeminiCall | None = None
    inlineData: GeminiBlob | None = None
    executableCode: dict[str, Any] | None = None
    codeExecutionResult: dict[str, Any] | None = None


class GeminiContent(Shape, frozen=True, gc=False):
    parts: list[GeminiPart] | None = None


class GeminiCandidate(Shape, frozen=True, gc=False):
    content: GeminiContent | None = None
    finishReason: str | None = None
    index: int | None = None
    groundingMetadata: dict[str, Any] | None = None
    citationMetadata: dict[str, Any] | None = None
    urlContextMetadata: dict[str, Any] | None = None


class GeminiCounts(Shape, frozen=True, gc=False):
    promptTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    thoughtsTokenCount: int | None = None
    cachedContentTokenCount: int | None = None


class GeminiChunk(Shape, frozen=True, gc=False):
    candidates: list[GeminiCandidate] | None = None
    usageMetadata: GeminiCounts | None = None
    promptFeedback: dict[str, Any] | None = None
    modelVersion: str | None = None
    responseId: str | None = None


# --- Cohere -----------------------------------------------------------------------------------------------------------


class CohereFunction(Shape, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class CohereCall(Shape, frozen=True, gc=False):
    id: str | None = None
    function: CohereFunction | None = None


class CoherePart(Shape, frozen=True, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class CohereContent(Shape, frozen=True, gc=False):
    content: CoherePart


class CohereContentDelta(Shape, frozen=True, gc=False):
    message: CohereContent


class CoherePlan(Shape, frozen=True, gc=False):
    tool_plan: str | None = None


class CoherePlanDelta(Shape, frozen=True, gc=False):
    message: CoherePlan


class CohereCalls(Shape, frozen=True, gc=False):
    tool_calls: CohereCall


class CohereCallsDelta(Shape, frozen=True, gc=False):
    message: CohereCalls


class CohereCited(Shape, frozen=True, gc=False):
    citations: dict[str, Any]


class CohereCitedDelta(Shape, frozen=True, gc=False):
    message: CohereCited


class CohereTokens(Shape, frozen=True, gc=False):
    input_tokens: float | None = None
    output_tokens: float | None = None
    reasoning_tokens: float | None = None


class CohereCounts(Shape, frozen=True, gc=False):
    tokens: CohereTokens | None = None
    cached_tokens: float | None = None


class CohereEnd(Shape, frozen=True, gc=False):
    finish_reason: str | None = None
    usage: CohereCounts | None = None
    error: str | None = None


class OfCohere(Struct, frozen=True, gc=False, tag_field="type"):
    """Told apart by its `type`."""


class CohereMessageStart(OfCohere, frozen=True, gc=False, tag="message-start"):
    id: str | None = None


class CohereContentStart(OfCohere, frozen=True, gc=False, tag="content-start"):
    index: int
    delta: CohereContentDelta


class CohereContentMore(OfCohere, frozen=True, gc=False, tag="content-delta"):
    index: int
    delta: CohereContentDelta


class CohereContentEnd(OfCohere, frozen=True, gc=False, tag="content-end"):
    index: int


class CoherePlanMore(OfCohere, frozen=True, gc=False, tag="tool-plan-delta"):
    delta: CoherePlanDelta


class CohereCallStart(OfCohere, frozen=True, gc=False, tag="tool-call-start"):
    index: int
    delta: CohereCallsDelta


class CohereCallMore(OfCohere, frozen=True, gc=False, tag="tool-call-delta"):
    index: int
    delta: CohereCallsDelta


class CohereCallEnd(OfCohere, frozen=True, gc=False, tag="tool-call-end"):
    index: int


class CohereCitationStart(OfCohere, frozen=True, gc=False, tag="citation-start"):
    delta: CohereCitedDelta


class CohereCitationEnd(OfCohere, frozen=True, gc=False, tag="citation-end"):
    pass


class CohereMessageEnd(OfCohere, frozen=True, gc=False, tag="message-end"):
    delta: CohereEnd


CohereEvent = (
    CohereMessageStart
    | CohereContentStart
    | CohereContentMore
    | CohereContentEnd
    | CoherePlanMore
    | CohereCallStart
    | CohereCallMore
    | CohereCallEnd
    | CohereCitationStart
    | CohereCitationEnd
    | CohereMessageEnd
)


# --- Bedrock Converse -------------------------------------------------------------------------------------------------


class ConverseInput(Shape, frozen=True, gc=False):
    input: str = ""


class ConverseReasoning(Shape, frozen=True, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class ConverseDelta(Shape, frozen=True, gc=False):
    text: str | None = None
    toolUse: ConverseInput | None = None
    reasoningContent: ConverseReasoning | None = None
    citation: dict[str, Any] | None = None


class ConverseCall(Shape, frozen=True, gc=False):
    name: str = ""
    toolUseId: str | None = None
    type: str | None = None


class ConverseBegun(Shape, frozen=True, gc=False):
    toolUse: ConverseCall | None = None
    toolResult: dict[str, Any] | None = None


class ConverseCounts(Shape, frozen=True, gc=False):
    inputTokens: int | None = None
    outputTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None


class ConverseEvent(Shape, frozen=True, gc=False):
    """Any event: which one it is stands in the message's headers, which the base line does not read."""

    delta: ConverseDelta | None = None
    contentBlockIndex: int = 0
    start: ConverseBegun | None = None
    stopReason: str | None = None
    usage: ConverseCounts | None = None


# --- Ollama -----------------------------------------------------------------------------------------------------------


class OllamaFunction(Shape, frozen=True, gc=False):
    name: str | None = None
    arguments: dict[str, Any] | None = None


class OllamaCall(Shape, frozen=True, gc=False):
    function: OllamaFunction
    id: str | None = None


class OllamaMessage(Shape, frozen=True, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[OllamaCall] | None = None
    images: list[str] | None = None


class OllamaLine(Shape, frozen=True, gc=False):
    model: str | None = None
    message: OllamaMessage | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


EVENT_TYPES: dict[str, Any] = {
    "openai.responses": ResponsesEvent,
    "anthropic.messages": AnthropicEvent,
    "openai.chat": ChatChunk,
    "gemini.streamGenerateContent": GeminiChunk,
    "cohere.v2.chat": CohereEvent,
    "bedrock.converse-stream": ConverseEvent,
    "ollama.chat": OllamaLine,
}
"""By API, the type into which an event of its streams is decoded."""
