"""The serving simulator held against loads that a batched engine served in real time."""
