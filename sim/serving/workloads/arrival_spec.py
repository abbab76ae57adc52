"""Arrivals as users type them: ``poisson:5,count=1000,prompt=512,output=128``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adadecode.profiles.errors import InputError, nearest
from adadecode.sim.serving.workloads.arrival_process import (
    ArrivalProcess,
    Bursts,
    Ramp,
    Steady,
    equal,
    even,
    exponential,
    gamma,
    weibull,
)
from adadecode.sim.serving.workloads.duration import parse_duration

GENERAL = ("count", "duration", "prompt", "output", "lengths", "seed")
"""Words that every specification may have."""

EXAMPLE = "poisson:5,count=1000,prompt=512,output=128"


@dataclass(frozen=True, kw_only=True)
class ArrivalSpec:
    """A specification in its parts.

    Attributes:
        text: As it was typed.
        process: When requests arrive; None in a closed loop, and where a file says it.
        in_flight: How many are in flight in a closed loop; None where they arrive by themselves.
        file: The file that says when requests arrive; None where that is drawn.
        words: The rest of it: words of `GENERAL`, and what stands behind their ``=``.
    """

    text: str
    process: ArrivalProcess | None
    in_flight: int | None
    file: str | None = None
    words: Mapping[str, str]


_OTHERS = ("closed", "times")
"""Arrivals that nothing draws."""


def parse_arrivals(text: str) -> ArrivalSpec:
    """Parse a specification of arrivals.

    ==========================================  ==================================================
    specification                               arrivals
    ==========================================  ==================================================
    ``poisson:RATE``                            RATE requests a second, independent of each other
    ``gamma:RATE,cv=2``                         gamma gaps with this coefficient of variation
    ``weibull:RATE,shape=0.7``                  Weibull gaps of this shape
    ``uniform:RATE``                            gaps from 0 to 2 / RATE, each as likely
    ``constant:RATE``                           equal gaps
    ``ramp:1..8,over=60s``                      Poisson, from 1 to 8 a second in 60 s, then 8
    ``burst:1,peak=8,every=60s,lasting=5s``     Poisson, 8 a second in the first 5 s of every
                                                minute, else 1
    ``closed:N``                                a closed loop: N in flight all the time
    ``times:FILE``                              when the requests of a file arrive; a time in
                                                seconds on each line will do
    ==========================================  ==================================================

    Args:
        text: The specification; words follow after commas, like ``count=1000``.

    Raises:
        InputError: If it has another form.
    """
    head, *rest = text.split(",")
    name, colon, value = (part.strip() for part in head.partition(":"))
    words = _words(rest, text)
    if name == "closed":
        return ArrivalSpec(
            text=text, process=None, in_flight=_whole("closed", value), words=_general(words, ())
        )
    if name == "times":
        if not value:
            raise InputError(f"wanted a file behind times, like times:FILE, got {text!r}")
        return ArrivalSpec(
            text=text, process=None, in_flight=None, file=value, words=_general(words, ())
        )
    if name not in _KINDS:
        raise InputError(
            f"wanted arrivals like {EXAMPLE}, got {text!r}: of the kinds of arrivals, "
            f"{nearest(name, [*_KINDS, *_OTHERS])}"
        )
    if not colon or not value:
        raise InputError(f"wanted a rate behind {name}, like {_KINDS[name].example}, got {text!r}")
    kind = _KINDS[name]
    given = {word: words[word] for word in kind.words if word in words}
    if missing := [word for word in kind.words if word not in given]:
        raise InputError(
            f"wanted {', '.join(missing)} with {name}, like {kind.example}, got {text!r}"
        )
    return ArrivalSpec(
        text=text,
        process=kind.make(value, given),
        in_flight=None,
        words=_general(words, kind.words),
    )


def is_specification(text: str) -> bool:
    """Return whether a text begins like a specification, and not like the name of a file."""
    return text.partition(":")[0].strip() in {*_KINDS, *_OTHERS}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A kind of arrivals: the words that it needs, an example, and what it makes of them."""

    words: tuple[str, ...] = ()
    example: str
    make: Callable[[str, Mapping[str, str]], ArrivalProcess]


def _ramp(value: str, words: Mapping[str, str]) -> ArrivalProcess:
    start, dots, end = value.partition("..")
    if not dots:
        raise InputError(f"wanted the rates of a ramp as START..END, like ramp:1..8, got {value!r}")
    rates = _rate("the start of the ramp", start, low=0), _rate("the end of the ramp", end)
    return ArrivalProcess(exponential, Ramp(*rates, parse_duration("over", words["over"])))


def _bursts(value: str, words: Mapping[str, str]) -> ArrivalProcess:
    every, lasting = (parse_duration(one, words[one]) for one in ("every", "lasting"))
    if not lasting < every:
        raise InputError(
            f"wanted bursts that end before the next one, got lasting={words['lasting']} and "
            f"every={words['every']}"
        )
    peak = _rate("peak", words["peak"])
    return ArrivalProcess(exponential, Bursts(_rate("burst", value), peak, every, lasting))


_KINDS = {
    "poisson": _Kind(
        example="poisson:5",
        make=lambda value, _: ArrivalProcess(exponential, Steady(_rate("poisson", value))),
    ),
    "gamma": _Kind(
        words=("cv",),
        example="gamma:5,cv=2",
        make=lambda value, words: ArrivalProcess(
            gamma(_rate("cv", words["cv"], low=0.01, high=100)), Steady(_rate("gamma", value))
        ),
    ),
    "weibull": _Kind(
        words=("shape",),
        example="weibull:5,shape=0.7",
        make=lambda value, words: ArrivalProcess(
            weibull(_rate("shape", words["shape"], low=0.1, high=100)),
            Steady(_rate("weibull", value)),
        ),
    ),
    "uniform": _Kind(
        example="uniform:5",
        make=lambda value, _: ArrivalProcess(even, Steady(_rate("uniform", value))),
    ),
    "constant": _Kind(
        example="constant:5",
        make=lambda value, _: ArrivalProcess(equal, Steady(_rate("constant", value))),
    ),
    "ramp": _Kind(words=("over",), example="ramp:1..8,over=60s", make=_ramp),
    "burst": _Kind(
        words=("peak", "every", "lasting"),
        example="burst:1,peak=8,every=60s,lasting=5s",
        make=_bursts,
    ),
}


def _words(parts: Sequence[str], text: str) -> dict[str, str]:
    """Return the words behind the rate. Raises InputError."""
    words: dict[str, str] = {}
    for part in parts:
        word, equals, value = (one.strip() for one in part.partition("="))
        if not (word and equals and value):
            raise InputError(f"wanted WORD=VALUE between commas, got {part!r} in {text!r}")
        if word in words:
            raise InputError(f"wanted {word} once, got it twice in {text!r}: leave one out")
        words[word] = value
    return words


def _general(words: Mapping[str, str], own: Sequence[str]) -> dict[str, str]:
    """Return the words that every kind may have. Raises InputError for one that is none."""
    rest = {word: value for word, value in words.items() if word not in own}
    if strange := [word for word in rest if word not in GENERAL]:
        raise InputError(
            f"wanted one of the words {', '.join((*own, *GENERAL))}, got {strange[0]!r}: leave it "
            "out or mend it"
        )
    return rest


def _rate(what: str, text: str, low: float = 1e-9, high: float = 1e9) -> float:
    """Return a number from ``low`` to ``high``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"wanted {what} as a number from {low:g} to {high:g}, got {text!r}")
    return value


def whole_number_of(text: str) -> int | None:
    """Return a whole number from 0 on; None of a text that is none, or of more than 18 digits."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def _whole(what: str, text: str) -> int:
    """Return a whole number, 1 or more."""
    found = whole_number_of(text)
    if found is None or not 1 <= found <= 10**9:
        raise InputError(f"wanted {what} as a whole number from 1 to {10**9:,}, got {text[:40]!r}")
    return found
