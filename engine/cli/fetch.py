"""``make smollm2``: fetch the model SmolLM2-135M-Instruct, once."""

from __future__ import annotations

from adadecode.engine.cli.errors import plain_errors
from adadecode.engine.loading.smollm2 import NAME, fetch
from adadecode.sim.cli.say import say


def main() -> None:
    """Fetch the model, unless it is here, and say how to use it."""
    folder = fetch(say)
    say(f"{NAME} is in {folder}: name it with --model {NAME}")


if __name__ == "__main__":
    with plain_errors():
        main()
