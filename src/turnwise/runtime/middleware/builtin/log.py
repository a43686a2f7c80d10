"""`log()`: one line when something begins and one when it has ended, on a logger of the standard library. What was said is in none of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from ....core.errors import TurnwiseError
from ....core.outcomes import ToolResult
from ....core.result import TurnResult
from ..compose import KINDS, Kind
from ..requests import EmbedRequest, ModelRequest, ToolRequest, TurnRequest
from ..response import Ended, ModelResponse
from .keys import Around, kinds

LOGGER = logging.getLogger("turnwise.middleware")
LOGGER.addHandler(logging.NullHandler())


class Log(Around):
    """See `log`."""

    name = "log"

    def __init__(self, logger: logging.Logger, level: int, of: Iterable[Kind]) -> None:
        super().__init__(of)
        self._logger = logger
        self._level = level

    async def around(self, request: Any, next: Any) -> Any:
        logger, level = self._logger, self._level
        if not logger.isEnabledFor(level):
            return await next(request)
        what, loop = _what(request), request.runtime.loop
        began = loop.time()
        logger.log(level, "%s begins", what)
        try:
            result = await next(request)
        except asyncio.CancelledError:
            logger.log(level, "%s was given up after %.3f s", what, loop.time() - began)
            raise
        except Exception as error:
            code = error.code if isinstance(error, TurnwiseError) else type(error).__name__
            logger.log(max(level, logging.WARNING), "%s failed after %.3f s: %s", what, loop.time() - began, code)
            raise
        if isinstance(result, ModelResponse) and result.sent:
            return result.at_end(lambda ended: self._ended(what, ended))
        logger.log(level, "%s ended after %.3f s: %s", what, loop.time() - began, _outcome(result))
        return result

    def _ended(self, what: str, ended: Ended) -> None:
        if ended.error is not None:
            self._logger.log(
                max(self._level, logging.WARNING), "%s failed after %.3f s: %s", what, ended.seconds, ended.error.code
            )
        elif ended.aborted:
            self._logger.log(self._level, "%s was given up after %.3f s", what, ended.seconds)
        else:
            usage = ended.usage
            tokens = "tokens unknown" if usage is None else f"{usage.input_tokens} in, {usage.output_tokens} out"
            self._logger.log(
                self._level, "%s ended after %.3f s: %s, %s", what, ended.seconds, ended.stop_reason, tokens
            )


def _what(request: Any) -> str:
    if isinstance(request, ModelRequest):
        return f"model {request.model} t{request.turn}.s{request.step} attempt {request.attempt} of {request.session or '-'}"
    if isinstance(request, ToolRequest):
        return f"tool {request.name} {request.call_id} of {request.session or '-'}"
    if isinstance(request, EmbedRequest):
        return f"embed {request.model} {len(request.texts)} texts attempt {request.attempt}"
    assert isinstance(request, TurnRequest)
    return f"turn of {request.agent} in {request.session.id}"


def _outcome(result: Any) -> str:
    if isinstance(result, ToolResult):
        return str(result.outcome.__struct_config__.tag)
    if isinstance(result, TurnResult):
        return f"{result.reason} {result.cause}".strip()
    return "answered by a middleware" if isinstance(result, ModelResponse) else "ok"


def log(logger: logging.Logger | None = None, *, level: int = logging.INFO, of: Kind | Iterable[Kind] = KINDS) -> Log:
    """Log beginnings and ends: names, numbers, times, tokens and error codes; failures at least as warnings. The logger is
    `turnwise.middleware` unless another one is given; as long as nothing listens there, nothing is done."""
    return Log(logger or LOGGER, level, kinds(of))
