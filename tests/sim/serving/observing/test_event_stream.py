"""Events are found however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.serving.observing.event_stream import LONGEST, EventStream

TEXT = ": a comment\ndata: one\n\nevent: x\r\ndata:two\r\ndata:  é\r\n\r\nid: 3\n\ndata: last"
EVENTS = ["one", "two\n é", "last"]


@given(cuts=st.lists(st.integers(0, len(TEXT.encode())), max_size=8))
def test_the_same_events_come_of_the_same_bytes_however_they_are_cut(cuts: list[int]) -> None:
    data, stream = TEXT.encode(), EventStream()
    places = [0, *sorted(cuts), len(data)]
    found = [
        event for start, end in itertools.pairwise(places) for event in stream.feed(data[start:end])
    ]
    assert found + stream.close() == EVENTS


def test_an_event_that_does_not_end_is_refused() -> None:
    stream = EventStream()
    stream.feed(b"data: " + b"x" * (LONGEST - 10))
    with pytest.raises(ValueError, match="does not end"):
        stream.feed(b"x" * 20)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        EventStream().feed(b"data: \xff\n\n")
