"""A campaign: recipes drawn for every reader in turn, run, judged and counted."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scripts.fuzz import mutations, reasons
from scripts.fuzz.case import Bench
from scripts.fuzz.outcome import End, Outcome
from scripts.fuzz.reader import Reader
from scripts.fuzz.recipe import Recipe
from scripts.fuzz.tally import Tally

SEALED_SHARE = 0.6
"""How many of the cases have digests that fit, where the reader has digests."""


class Campaign:
    """Runs recipes.

    Args:
        readers: The readers by name.
        folder: An empty folder, for the files of the cases.
        seed: Of the recipes that are drawn.
        save: Where the recipes that were run are kept, a line each.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        folder: Path,
        *,
        seed: int = 0,
        save: Path | None = None,
    ) -> None:
        self.readers, self.folder, self.seed, self.save = readers, folder, seed, save
        self.benches: dict[str, Bench] = {}
        self.tally = Tally()
        self.seconds = 0.0

    def run(
        self,
        recipes: Sequence[Recipe] | None = None,
        *,
        seconds: float,
        cases: int | None = None,
    ) -> None:
        """Run given recipes, or draw them until the time is over.

        Every reader gets the same share of the time.

        Args:
            recipes: What to run; None to draw it.
            seconds: How long.
            cases: At most so many of each reader.
        """
        for name, reader in self.readers.items() if recipes is None else ():
            for action in reader.actions:
                self.bench(name).answer(action)
        started = time.monotonic()
        if recipes is not None:
            for recipe in recipes:
                if time.monotonic() - started < seconds:
                    self.judge(recipe)
            self.seconds = time.monotonic() - started
            return
        spent = dict.fromkeys(self.readers, 0.0)
        done = dict.fromkeys(self.readers, 0)
        while time.monotonic() - started < seconds:
            left = [name for name in spent if cases is None or done[name] < cases]
            if not left:
                break
            name = min(left, key=lambda one: spent[one])
            began = time.monotonic()
            self.judge(self.drawn(name, done[name]))
            spent[name] += time.monotonic() - began
            done[name] += 1
        self.seconds = time.monotonic() - started

    def drawn(self, name: str, index: int) -> Recipe:
        """Return the recipe of a reader with this number, the same for the same seed."""
        source, bench = random.Random(f"{self.seed}:{name}:{index}"), self.bench(name)
        action = source.choice(list(bench.reader.actions))
        files = bench.reader.changeable(bench.pristine, action)
        count = source.choice((1, 1, 1, 1, 1, 2, 3))
        return Recipe(
            reader=name,
            action=action,
            mutations=tuple(
                mutations.draw(source, bench.pristine, source.choice(files)) for _ in range(count)
            ),
            sealed=bench.reader.seal is not None and source.random() < SEALED_SHARE,
        )

    def judge(self, recipe: Recipe) -> Outcome:
        """Run a recipe and count its outcome; of a fault, with the fewest changes that show it."""
        bench = self.bench(recipe.reader)
        given = recipe
        recipe, outcome = bench.run(recipe)
        reason = reasons.of(recipe) if outcome.end == End.OTHER else None
        if outcome.end not in {End.REFUSED, End.SAME} and reason is None:
            recipe = _shortened(bench, recipe, outcome)
        if self.tally.count(recipe, outcome, reason):
            print(
                f"{outcome.end}, {outcome.where}: {recipe.to_json()}", file=sys.stderr, flush=True
            )
        if self.save is not None:
            with self.save.open("a") as file:
                file.write(f"{given.to_json()}\n")
        return outcome

    def bench(self, name: str) -> Bench:
        """Return where the cases of a reader are run; built when it is first asked for."""
        if name not in self.benches:
            place = self.folder / f"{len(self.benches)}"
            self.benches[name] = Bench.of(self.readers[name], place)
        return self.benches[name]


def _shortened(bench: Bench, recipe: Recipe, outcome: Outcome) -> Recipe:
    """Return the recipe with one of its changes alone, where that shows the same fault."""
    if len(recipe.mutations) == 1:
        return recipe
    for mutation in recipe.mutations:
        if outcome.end == End.OTHER and reasons.of_mutation(recipe, mutation) is not None:
            continue
        one = Recipe(
            reader=recipe.reader,
            action=recipe.action,
            mutations=(mutation,),
            sealed=recipe.sealed,
        )
        _, found = bench.run(one)
        if (found.end, found.where) == (outcome.end, outcome.where):
            return one
    return recipe


def recipes_in(paths: Iterable[Path]) -> list[Recipe]:
    """Return the recipes of files: a line each, or the list of a corpus."""
    found: list[Recipe] = []
    for path in paths:
        text = path.read_text()
        if path.suffix == ".json":
            found += [Recipe.of(entry["recipe"]) for entry in json.loads(text)]
        else:
            found += [Recipe.of(json.loads(line)) for line in text.splitlines()]
    return found
