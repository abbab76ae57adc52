"""Arithmetic word problems of our own, drawn by a seed from stories with names and numbers."""

from __future__ import annotations

from random import Random

NAMES = (
    "Anna Ben Chloe David Elif Farid Grace Hugo Ines Jonas Kira Luis Mina Noah Olga Pedro "
    "Rosa Sam Tara Umar Vera Will Yara Zoe"
).split()
THINGS = "apples stickers marbles postcards books coins shells pencils candles buttons stamps "
"cookies".split()
PLACES = "market bakery school library farm museum station garden".split()
STORIES = (
    (
        "{a} has {m} {things}. {b} gives {a} {n} more, and then {a} loses {k} of them. How many"
        " {things} does {a} have now?"
    ),
    (
        "A {place} sells {things} in boxes of {k}. {a} buys {n} boxes and gives {k} {things} to"
        " {b}. How many {things} are left?"
    ),
    (
        "{a} reads {n} pages every day from Monday to Friday and {m} pages on Saturday. How "
        "many pages does {a} read in that week?"
    ),
    (
        "A ticket for the {place} costs {k} dollars for adults and half as much for children. "
        "What do {n} adults and {k} children pay together?"
    ),
    (
        "{a} and {b} share {m} {things} so that {a} gets {k} more than {b}. How many does each "
        "of them get?"
    ),
    (
        "A bus leaves the {place} with {m} people. At the first stop {k} get off and {n} get "
        "on, at the second stop half of the people get off. How many are on the bus then?"
    ),
    (
        "{a} earns {n} dollars an hour and works {k} hours a day, five days a week. After "
        "paying {m} dollars for rent, how much is left of one week's pay?"
    ),
    "A rectangle is {n} metres long and {k} metres wide. What are its area and its perimeter?",
    (
        "{a} is {k} years older than {b}, and together they are {m} years old. How old is each "
        "of them?"
    ),
    (
        "A recipe for {k} people needs {n} grams of flour for each person. How much flour does "
        "{a} need for twice as many people?"
    ),
    (
        "{a} drives {m} kilometres in two hours and then {n} kilometres in one hour. What is "
        "the average speed of the whole trip?"
    ),
    (
        "A shirt costs {m} dollars. It is sold at {k} percent off. What does {a} pay, and how "
        "much does {a} save?"
    ),
    (
        "In a class of {m} students, {n} play football and {k} play both football and chess. "
        "How many play football but not chess?"
    ),
    (
        "{a} fills a tank of {m} litres with a hose that gives {k} litres a minute. How long "
        "does it take, and how long with two such hoses?"
    ),
    (
        "{a} has {n} coins of five cents and {k} coins of twenty cents. How much money is that "
        "in dollars?"
    ),
    "A hall has {k} rows of {n} seats. If {k} seats are taken, how many are free?",
)
ENDINGS = (
    "",
    "",
    " Think step by step.",
    " Show your work.",
    " Explain each step and give the final answer on a line of its own.",
    " Give only a short calculation and the result.",
)


def problem(draw: Random) -> str:
    """Return a word problem whose numbers are small."""
    first, second = draw.sample(NAMES, 2)
    story = draw.choice(STORIES).format(
        a=first,
        b=second,
        things=draw.choice(THINGS),
        place=draw.choice(PLACES),
        m=2 * draw.randint(20, 90),
        n=draw.randint(8, 30),
        k=2 * draw.randint(1, 5),
    )
    return story + draw.choice(ENDINGS)
