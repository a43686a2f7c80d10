"""Cohere chat, version 2."""
