"""Step-by-step arithmetic word problems, the demo model's main domain (a small GSM8K).

A problem is a story about one kind of object and a chain of events. Its answer repeats the story a
sentence at a time, each followed by its sum. Every number stays in 1..199, so that a small model
can learn the arithmetic.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES: dict[str, list[str]] = {
    "she": (
        "Anna Maria Lucy Emma Nora Clara Julia Sarah Grace Helen "
        "Ruth Alice Diana Irene Laura Molly Paula Rosa Tina Vera"
    ).split(),
    "he": (
        "Tom Omar Ben Carl David Frank George Henry Ivan Jack "
        "Kevin Leo Mark Noah Oscar Peter Ryan Simon Victor Walter"
    ).split(),
}
OBJECTS = (
    "apples pencils books marbles coins stamps cards cookies eggs oranges shells buttons tickets "
    "roses candles bottles stickers toys cups lemons stones beads plums ribbons maps"
).split()
PLACES = "market shop school park library station farm garden beach museum office harbor".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

LARGEST = 199
"""No number in a problem exceeds this."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A word problem.

    Attributes:
        question: As the prompt states it.
        working: The worked answer.
        result: The final number.
    """

    question: str
    working: str
    result: int

    @property
    def prompt(self) -> str:
        """The text before the worked answer."""
        return f"Question: {self.question}\nAnswer:"

    @property
    def document(self) -> str:
        """Prompt and worked answer, as the model is trained on them."""
        return f"{self.prompt} {self.working}\n"


Event = tuple[str, str, int]
"""A sentence of the story without its subject, its sum, and the new total."""


def _gain(rng: random.Random, have: int) -> Event | None:
    """Draw an event after which there are more, or None where the total would leave the range."""
    n = rng.randint(2, 30)
    if have + n > LARGEST:
        return None
    place, day = rng.choice(PLACES), rng.choice(DAYS)
    story = rng.choice(
        [
            f"buys {n} more {{obj}} at the {place}",
            f"finds {n} {{obj}} at the {place}",
            f"gets {n} {{obj}} from {{friend}}",
            f"wins {n} {{obj}} on {day}",
        ]
    )
    return story, f"{have} + {n} = {have + n}", have + n


def _loss(rng: random.Random, have: int) -> Event | None:
    """Draw an event after which there are fewer, or None where there are too few already."""
    if have < 4:
        return None
    n = rng.randint(2, min(30, have - 1))
    place, day = rng.choice(PLACES), rng.choice(DAYS)
    story = rng.choice(
        [
            f"gives {n} {{obj}} to {{friend}}",
            f"loses {n} {{obj}} on {day}",
            f"sells {n} {{obj}} at the {place}",
            f"leaves {n} {{obj}} at the {place}",
        ]
    )
    return story, f"{have} - {n} = {have - n}", have - n


def _multiply(rng: random.Random, have: int) -> Event | None:
    """Draw a doubling or tripling, or None where the total would have three digits."""
    k = rng.choice([2, 2, 3])
    if have * k > 99:
        return None
    word = {2: "doubles", 3: "triples"}[k]
    return f"{word} the number of {{obj}}", f"{have} * {k} = {have * k}", have * k


def _share(rng: random.Random, have: int) -> Event | None:
    """Draw a division into equal parts, or None where it does not come out even."""
    k = rng.choice([2, 3, 4, 5])
    if have % k or have // k < 3:
        return None
    return (
        f"splits the {{obj}} into {k} equal boxes and keeps one box",
        f"{have} / {k} = {have // k}",
        have // k,
    )


_EVENTS = (_gain, _gain, _gain, _loss, _loss, _loss, _multiply, _share, _share)


def make_problem(rng: random.Random, *, events: tuple[int, int] = (2, 6)) -> Problem:
    """Draw one problem.

    Args:
        rng: Where to draw from.
        events: The least and the most number of events, both included.
    """
    pro = rng.choice(["she", "he"])
    name = rng.choice(NAMES[pro])
    friend = rng.choice([n for n in NAMES["she"] + NAMES["he"] if n != name])
    obj = rng.choice(OBJECTS)
    words = {"obj": obj, "friend": friend}
    have = rng.randint(5, 60)
    story = [f"{name} has {have} {obj}."]
    working = [f"At first {name} has {have} {obj}."]
    count = rng.randint(*events)
    while len(story) <= count:
        event = rng.choice(_EVENTS)(rng, have)
        if event is None:
            continue
        action, sum_, have = event
        opening = rng.choice([f"Then {pro}", pro.capitalize(), f"Later {pro}", f"After that {pro}"])
        sentence = f"{opening} {action.format(**words)}"
        story.append(f"{sentence}.")
        working.append(f"{sentence}: {sum_}.")
    story.append(
        rng.choice(
            [
                f"How many {obj} does {name} have now?",
                f"How many {obj} does {name} have at the end?",
                f"How many {obj} are left?",
            ]
        )
    )
    working.append(f"The answer is {have}.")
    return Problem(question=" ".join(story), working=" ".join(working), result=have)


def final_number(text: str) -> int | None:
    """Return the number after the last "The answer is", or None where there is none."""
    _, found, tail = text.rpartition("The answer is ")
    digits = tail.split(".")[0].strip()
    return int(digits) if found and digits.isdigit() else None
