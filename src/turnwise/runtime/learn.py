"""What the catalogue says about models is looked up in a thread, while the provider is busy answering: loading it takes long and must not
hold up the loop. Only what a turn cannot begin without is waited for: prices if its cost is limited, and whether overrides can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..core.errors import ConfigError, config_error
from ..models.facts import Facts
from .degraded import prices_fail, works
from .runtime import Runtime

if TYPE_CHECKING:
    from .plan import Target


def learn(facts: Facts, runtime: Runtime) -> None:
    """Begin to look up what is known about a model, unless that is under way."""
    if facts.loading is None:
        facts.loading = runtime.blocking.run(partial(facts.info, runtime.clock.wall()))


async def learned(facts: Facts, runtime: Runtime) -> None:
    """Wait until that is done. Cancelling it stops the waiting alone: others may wait for the same. Raises what the look-up raised."""
    if facts.at_hand:
        return
    learn(facts, runtime)
    loading = facts.loading
    await asyncio.wait((loading,))
    facts.loading = None
    if not loading.cancelled():
        loading.result()


async def window_of(facts: Facts, runtime: Runtime) -> int | None:
    """How many tokens the model reads; None if that is not known. A catalogue that cannot be read knows nothing."""
    try:
        await learned(facts, runtime)
        if not facts.at_hand:
            return None
        window = facts.info(runtime.clock.wall()).context_window
    except Exception as error:
        prices_fail(runtime, error)
        return None
    works(runtime, "prices")
    return window


async def learn_prices(facts: Facts, runtime: Runtime) -> None:
    """Have at hand what the model costs, if that can be known: a catalogue that cannot be read must not cost the answer. Raises `ConfigError`
    for overrides that cannot be used."""
    try:
        await learned(facts, runtime)
    except ConfigError:
        raise
    except Exception as error:
        facts.give_up(runtime.clock.wall())
        prices_fail(runtime, error)
    else:
        works(runtime, "prices")


async def learn_needed(targets: Sequence[Target], runtime: Runtime, *, needs_prices: bool) -> None:
    """Look up what has to be known before a turn begins. Raises `ConfigError`: `invalid_override`, and `unpriced_model` if the cost of
    a model that may be asked cannot be told (rule H3)."""
    for target in targets:
        facts = target.facts
        if needs_prices or facts.has_overrides:
            await learn_prices(facts, runtime)
        if needs_prices and not facts.is_priced(runtime.clock.wall()):
            raise _unpriced(target)


def _unpriced(target: Target) -> ConfigError:
    name = f"{target.handle.provider}:{target.handle.model}"
    return config_error(
        "unpriced_model",
        f"The cost of the turn is limited, but what {name} costs is not known.",
        f"Give its prices: Agent(overrides={{{name!r}: {{'prices': {{'input_mtok': …, 'output_mtok': …}}}}}}), or install turnwise[prices].",
    )
