"""OpenAI Chat Completions, as OpenAI and the many hosts that follow it speak it."""
