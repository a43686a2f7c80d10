"""Capabilities: bundles of instructions, tools, hooks, middleware and state that agents are composed of. Public as `turnwise.capabilities`.

`capability` is what one is, `composing` puts several together and reports what does not fit, `in_agent` and `in_session` are what agents and
sessions do with them; `todo` and `clock` are two that come with Turnwise.
"""
