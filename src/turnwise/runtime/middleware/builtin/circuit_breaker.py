"""`circuit_breaker()`: a provider key that fails again and again is left alone for a while, then tried with one request.

It looks at a sliding window of the last calls, so that a few failures in many do not open it. While it is open a request is refused at
once with an error that the machine may act on: it goes to a fallback model, or waits (rule H3: who does what is the machine's to say).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Literal

from ....core.errors import ErrorInfo, ProviderError, config_error
from ..requests import EmbedRequest, ModelRequest
from ..response import Ended, ModelResponse

State = Literal["closed", "open", "half_open"]


def counts_as_failure(error: ErrorInfo) -> bool:
    """What says something of the provider and not of the request: overload, timeouts, broken connections."""
    return error.branch == "provider" and error.retryable and error.code not in ("circuit_open", "rate_limit_wait")


class _Circuit:
    """What is known of one provider key."""

    __slots__ = ("opened_at", "probing", "state", "window")

    def __init__(self, window: int) -> None:
        self.window: deque[tuple[float, bool]] = deque(maxlen=window)
        self.state: State = "closed"
        self.opened_at = 0.0
        self.probing = False


class CircuitBreaker:
    """See `circuit_breaker`."""

    name = "circuit_breaker"

    def __init__(
        self,
        failure_share: float,
        window: int,
        window_s: float,
        least: int,
        open_s: float,
        is_failure: Callable[[ErrorInfo], bool],
    ) -> None:
        if not 0 < failure_share <= 1 or window < 1 or least < 1 or least > window or open_s <= 0 or window_s <= 0:
            raise config_error(
                "invalid_value",
                "circuit_breaker(…): these settings never open or never close it.",
                "failure_share lies in (0, 1], least in 1 to window, and seconds are above 0.",
            )
        self._share = failure_share
        self._window = window
        self._window_s = window_s
        self._least = least
        self._open_s = open_s
        self._is_failure = is_failure
        self._circuits: dict[Hashable, _Circuit] = {}

    def state_of(self, key: Hashable) -> State:
        """How it stands with a provider key (`ModelRequest.key`)."""
        circuit = self._circuits.get(key)
        return "closed" if circuit is None else circuit.state

    @property
    def states(self) -> dict[Hashable, State]:
        """How it stands with all keys that were used."""
        return {key: circuit.state for key, circuit in self._circuits.items()}

    async def model(self, request: ModelRequest, next: Any) -> ModelResponse:
        loop = request.runtime.loop
        circuit = self._enter(request.key, loop.time())
        probe = circuit.probing and circuit.state == "half_open"
        try:
            response: ModelResponse = await next(request)
        except asyncio.CancelledError:
            self._unclear(circuit, probe)
            raise
        except ProviderError as error:
            self._note(circuit, error.info, loop.time(), probe)
            raise
        except BaseException:
            self._unclear(circuit, probe)
            raise

        def told(ended: Ended) -> None:
            if ended.aborted or (ended.error is not None and ended.error.branch != "provider"):
                self._unclear(circuit, probe)
            else:
                self._note(circuit, ended.error, loop.time(), probe)

        if response.sent:
            return response.at_end(told)
        self._unclear(circuit, probe)
        return response

    async def embed(self, request: EmbedRequest, next: Any) -> Any:
        loop = request.runtime.loop
        circuit = self._enter(request.key, loop.time())
        probe = circuit.probing and circuit.state == "half_open"
        try:
            result = await next(request)
        except ProviderError as error:
            self._note(circuit, error.info, loop.time(), probe)
            raise
        except BaseException:
            self._unclear(circuit, probe)
            raise
        self._note(circuit, None, loop.time(), probe)
        return result

    def _enter(self, key: Hashable, now: float) -> _Circuit:
        """Let a request through, or refuse it. Raises `ProviderError` (`circuit_open`)."""
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = _Circuit(self._window)
        if circuit.state == "closed":
            return circuit
        left_s = circuit.opened_at + self._open_s - now
        if left_s > 0 or circuit.probing:
            raise _refused(max(left_s, 1.0))
        circuit.state, circuit.probing = "half_open", True
        return circuit

    def _note(self, circuit: _Circuit, error: ErrorInfo | None, now: float, probe: bool) -> None:
        failed = error is not None and self._is_failure(error)
        if probe:
            circuit.probing = False
            circuit.window.clear()
            circuit.state = "open" if failed else "closed"
            circuit.opened_at = now
            return
        if circuit.state != "closed":
            return  # it was sent before the circuit opened
        window = circuit.window
        window.append((now, failed))
        while window[0][0] < now - self._window_s:
            window.popleft()
        failures = sum([1 for _, bad in window if bad])
        if failed and len(window) >= self._least and failures >= self._share * len(window):
            circuit.state, circuit.opened_at = "open", now

    def _unclear(self, circuit: _Circuit, probe: bool) -> None:
        """The request says nothing of its provider; a probe that says nothing leaves room for the next one."""
        if probe:
            circuit.probing, circuit.state = False, "open"


def _refused(left_s: float) -> ProviderError:
    return ProviderError(
        ErrorInfo(
            "provider",
            "circuit_open",
            "This provider has failed too often just now, so it is left alone for a while.",
            "Name fallback models, Agent(models=[…]), or wait.",
            retryable=True,
            retry_after_s=left_s,
        )
    )


def circuit_breaker(
    *,
    failure_share: float = 0.5,
    window: int = 20,
    window_s: float = 60.0,
    least: int = 5,
    open_s: float = 30.0,
    is_failure: Callable[[ErrorInfo], bool] = counts_as_failure,
) -> CircuitBreaker:
    """Leave a provider key alone for `open_s` when of its last calls (`window` of them, of `window_s` seconds, at least `least`) a share of
    `failure_share` has failed; then let one through to see. `is_failure` says what counts: overload, timeouts and broken connections, not
    a request that was wrong. An aborted call counts for nothing."""
    return CircuitBreaker(failure_share, window, window_s, least, open_s, is_failure)
