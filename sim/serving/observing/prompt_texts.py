"""The texts that are sent: drawn from plain words, or a user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from adadecode.profiles.errors import PromptError
from adadecode.profiles.input_file import is_there, read_text
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.workloads.json_fields import json_lines

WORDS = """
    the and that have with this from they will would there their what about which when make like
    time just know take people into year your good some could them other than then now look only
    come over think also back after use two how our work first well way even new want because any
    these give day most find here thing many long great small place house hand school water food
    old high night light story money month book eye word side head far yes door home land city
    tree farm hard start might saw sea draw left late run while press close real life few north
    open seem together next white children begin got walk example ease paper group always music
    those both mark often letter until mile river car feet care second enough plain girl usual
    young ready above ever red list though feel talk bird soon body dog family direct pose leave
"""
"""Short words that most vocabularies know as one token each."""

PromptText = Callable[[int, Request], str]
"""Returns the text of a request, by its place in the workload."""


def drawn_texts(seed: int) -> PromptText:
    """Return texts of as many plain words as a request has tokens of prompt.

    Each is drawn anew, so that no two begin alike and no server finds one in its cache. The same
    seed gives the same texts, whichever are asked for.
    """
    words = np.array(WORDS.split())

    def text(number: int, request: Request) -> str:
        rng = np.random.default_rng([seed, number])
        return " ".join(rng.choice(words, size=request.n_prompt).tolist())

    return text


def texts_of_file(path: str | Path) -> PromptText:
    """Return the prompts of a file, in turn.

    Args:
        path: A text with a prompt a line, or JSON Lines with a ``prompt`` each.

    Raises:
        PromptError: If it cannot be read, holds no prompt, or a line has none.
    """
    if not is_there(path):
        raise PromptError(f"no prompt file {shown(path)}: name a text with one prompt a line")
    whole = read_text(path, error=PromptError)
    if whole.lstrip().startswith("{"):
        prompts = []
        for line, fields in json_lines(whole, shown(path)):
            prompt = fields.get("prompt")
            if not isinstance(prompt, str) or not prompt.strip():
                raise PromptError(
                    f'wanted a text as "prompt" in line {line} of {shown(path)}, got '
                    f"{shown(prompt)[:60]}: add it"
                )
            prompts.append(prompt)
    else:
        prompts = [line for line in whole.splitlines() if line.strip()]
    if not prompts:
        raise PromptError(f"no prompts in {shown(path)}: write one a line")
    return lambda number, _request: prompts[number % len(prompts)]
