"""What the catalogue says about one model, kept for the runtime: looked up once, then at hand, prices as arithmetic on floats.

The catalogue is not loaded before somebody needs it, and the package `genai-prices` with its data takes a good part of a second to
load. So the first look-up (`info`) may block, and is one for a thread; `priced` never does. A server on this machine has no prices
to be looked up, unless the caller gives some.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ..core.usage import Usage
from .connection import Model
from .hosts import is_here

if TYPE_CHECKING:
    from .catalogue import ModelInfo, Overrides
    from .prices_rows import Rates

KEPT_S = 900.0
"""For how long a look-up holds: some prices depend on the time of day."""
AGAIN_S = 300.0
"""After a look-up that failed, so long nobody tries another."""


class Facts:
    """What is known about one model. `base_url` is where it is asked and `home` where its provider is; `overrides` are the caller's own
    facts (see `models.model_info`). Times are Unix seconds.

    `loading` belongs to whoever looks it up for several at once.
    """

    __slots__ = (
        "_again_at",
        "_asked",
        "_info",
        "_is_here",
        "_may_be_priced",
        "_overrides",
        "_rates",
        "_until",
        "loading",
    )

    loaded: ClassVar[bool] = False
    """Whether the catalogue was loaded, so that a look-up of a model on this machine takes no time worth mentioning."""
    loaded_whole: ClassVar[bool] = False
    """The same with the data of the package, for any model."""

    def __init__(self, asked: Model, base_url: str = "", home: str = "", overrides: Overrides | None = None) -> None:
        self._asked = asked
        self._overrides = overrides
        self._is_here = is_here(base_url)
        self._may_be_priced = overrides is not None or not self._is_here or is_here(home)
        self._info: ModelInfo | None = None
        self._rates: Rates | None = None
        self._until = 0.0
        self._again_at: float | None = None
        self.loading: Any = None

    @property
    def has_overrides(self) -> bool:
        return self._overrides is not None

    @property
    def at_hand(self) -> bool:
        """Whether `info` does not block."""
        return self._info is not None or (
            self._overrides is None and (Facts.loaded_whole or (self._is_here and Facts.loaded))
        )

    @property
    def prices_at_hand(self) -> bool:
        """Whether `priced` knows all that there is to know."""
        return not self._may_be_priced or self.at_hand

    def info(self, at: float) -> ModelInfo:
        """What is known. Blocks for the first look-up of a process: up to half a second if `genai-prices` is installed. Raises
        `ConfigError` (`invalid_override`)."""
        if self._info is None or at >= self._until:
            from .catalogue import model_info
            from .prices_rows import rates_of

            info = model_info(self._asked, overrides=self._overrides, at=datetime.fromtimestamp(at, UTC))
            self._rates = None if info.prices is None else rates_of(info.prices)
            self._info, self._until = info, at + KEPT_S
            Facts.loaded, Facts.loaded_whole = True, Facts.loaded_whole or not self._is_here
        return self._info

    def give_up(self, at: float) -> None:
        """Take the model for one without prices, for a while: the catalogue cannot be read."""
        self._may_be_priced, self._again_at = False, at + AGAIN_S

    def _may_be_tried_again(self, at: float) -> bool:
        if self._again_at is None or at < self._again_at:
            return False
        self._may_be_priced, self._again_at = True, None
        return True

    def is_priced(self, at: float) -> bool:
        """Whether there are prices. Looks them up."""
        return self._may_be_priced and self.info(at).prices is not None

    def cost_usd(self, usage: Usage, at: float) -> float | None:
        """What this usage costs, in US dollars; None if that is not known or not at hand."""
        if not self._may_be_priced and not self._may_be_tried_again(at):
            return None
        if not self.at_hand:
            return None
        if at >= self._until:
            self.info(at)
        return None if self._rates is None else self._rates.cost(usage)

    def priced(self, usage: Usage | None, at: float) -> Usage | None:
        """The usage of one model call with its cost, unless the provider has said it or it is not known."""
        if usage is None or usage.cost_usd is not None or (cost := self.cost_usd(usage, at)) is None:
            return usage
        return msgspec.structs.replace(usage, cost_usd=cost)
