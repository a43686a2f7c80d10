"""The event bus of a runtime: what happens anywhere in it, under dotted topics, for whoever subscribes."""
