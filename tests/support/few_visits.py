"""Short recordings for tests: fewer latency visits than a real one needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adadecode.engine.profiling import recorder


@pytest.fixture(scope="module", autouse=True)
def few_visits() -> Iterator[None]:
    """Visit each context once at least, in this module's own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "VISITS", 1)
        yield
