"""Streams with what the serving codecs do not write: citations, tools that the provider runs, grounding, sealed data. By API."""

from __future__ import annotations

import json
from typing import Any

from turnwise.wire.framing.event_stream import write_message


def _events(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: " + str(e["type"]).encode() + b"\ndata: " + json.dumps(e).encode() + b"\n\n" for e in events
    )


def _data(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks)


def _messages(*messages: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(
        write_message({":message-type": "event", ":event-type": kind}, json.dumps(said).encode())
        for kind, said in messages
    )


def _block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": index},
    ]


_SEARCH: dict[str, Any] = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
_FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]}
_ANTHROPIC = _events(
    {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}},
    *_block(0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "signature_delta", "signature": "c2ln"}),
    *_block(1, {"type": "redacted_thinking", "data": "c2VhbA=="}),
    *_block(2, _SEARCH, {"type": "input_json_delta", "partial_json": '{"query": "x"}'}),
    *_block(3, _FOUND),
    *_block(
        4,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://a.example"}},
        {"type": "text_delta", "text": "found"},
    ),
    *_block(5, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}, "caller": {"type": "direct"}}),
    *_block(6, {"type": "later_kind", "input": "a"}, {"type": "later_delta", "input": "b"}),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
)


def _item(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


_PART = {"type": "output_text", "text": "found", "annotations": [{"type": "url_citation", "url": "https://a.example"}]}
_RESPONSES = _events(
    {"type": "response.created", "response": {"id": "resp_1", "model": "m", "output": []}},
    *_item(0, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbA=="}),
    *_item(1, {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}),
    *_item(2, {"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "output_format": "png"}),
    *_item(3, {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "run", "input": "x"}),
    *_item(4, {"type": "message", "id": "msg_1", "role": "assistant", "content": [_PART]}),
    {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": {"input_tokens": 3}}},
)

_CHAT = _data(
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}}]},
    {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "a"}, {"type": "thinking", "x": 1}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "b", "annotations": [{"type": "url_citation"}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": "0", "function": {"name": "f", "arguments": {}}}]}}]},
    {"choices": [{"index": 0, "delta": {"function_call": {"name": "g", "arguments": "{}"}}}]},
    {"choices": [{"index": 0, "delta": {"images": [{"image_url": {"url": "data:image/png;base64,aGk="}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": {"prompt_tokens": 3}}},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}},
)

_GEMINI = _data(
    {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}], "responseId": "r", "modelVersion": "m"},
    {
        "candidates": [
            {"content": {"parts": [{"text": "a", "thoughtSignature": "c2ln"}, {"text": "b", "new": {"x": 1}}]}}
        ]
    },
    {"candidates": [{"content": {"parts": [{"executableCode": {"language": "PYTHON", "code": "1"}}]}}]},
    {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": [1]}, "id": "x"}}]}}]},
    {
        "candidates": [
            {"groundingMetadata": {"webSearchQueries": ["x"]}, "citationMetadata": {"a": 1}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 3, "thoughtsTokenCount": 1},
    },
)

_CITED = {"start": 0, "end": 1, "text": "a", "content_index": 0, "sources": [{"type": "document", "id": "d"}]}
_COHERE = _events(
    {"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant"}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "a"}}}},
    {"type": "citation-start", "index": 0, "delta": {"message": {"citations": _CITED}}},
    {"type": "citation-end", "index": 0},
    {"type": "content-end", "index": 0},
    {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "later", "x": 1}}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 3.0}}}},
)

_CONVERSE = _messages(
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "a"}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"citation": {"title": "t", "location": {}}}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"name": "s", "type": "server_tool_use"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a": 1}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("contentBlockStart", {"contentBlockIndex": 3, "start": {"image": {"format": "png"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"image": {"source": {"bytes": "aGk="}}}}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2}}),
)

_OLLAMA = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"message": {"content": "a", "images": ["aGk=", "!"]}, "done": False},
        {"message": {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {"a": [1]}}}]}, "done": False},
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": "text"}}]}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2},
    )
)

RICH: dict[str, bytes] = {
    "anthropic.messages": _ANTHROPIC,
    "openai.responses": _RESPONSES,
    "openai.chat": _CHAT,
    "gemini.generateContent": _GEMINI,
    "vertex.generateContent": _GEMINI,
    "cohere.v2.chat": _COHERE,
    "bedrock.converse": _CONVERSE,
    "ollama.chat": _OLLAMA,
}
