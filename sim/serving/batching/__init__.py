"""Continuous batching of early exits, as the engine does it and a simulator replays it."""
