"""Where parts of a sweep are evaluated: threads of this process, or a Dask cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design
from adadecode.sim.sweep.head_forms import AnyEvaluator

Submit = Callable[[Sequence[Design]], "Future[pd.DataFrame]"]
"""Starts to evaluate designs somewhere."""

RETRIES = 3
"""How often Dask gives a part that failed with its worker to another one."""

SECONDS_TO_CONNECT = 15
"""How long a Dask scheduler has to answer."""

WAITING = 16
"""Threads that wait for parts that a cluster evaluates; the cluster has all of them at once."""


@contextmanager
def workers(
    evaluator: AnyEvaluator, scheduler: str | None = None, threads: int | None = None
) -> Iterator[Submit]:
    """Start workers, and stop them at the end; parts that have not begun are cancelled.

    Args:
        evaluator: What evaluates the designs.
        scheduler: A Dask scheduler at ``tcp://host:port``; threads of this process without one.
        threads: How many threads; by default one a core. The compiled loops hold no lock, so that
            threads are as good as processes.

    Raises:
        InputError: If the scheduler does not answer, or Dask is not installed.
    """
    if scheduler is not None:
        with _on_cluster(evaluator, scheduler) as submit:
            yield submit
        return
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        try:
            yield lambda designs: pool.submit(evaluate_part, evaluator, designs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _on_cluster(evaluator: AnyEvaluator, scheduler: str) -> Iterator[Submit]:
    client = _connect(scheduler)
    # Dask's own executor fails where a part is lost with its worker while it is fetched.
    with client, ThreadPoolExecutor(WAITING) as pool:
        shared = client.scatter(evaluator, broadcast=True, hash=False)
        try:
            yield lambda designs: pool.submit(
                client.submit(evaluate_part, shared, designs, retries=RETRIES).result
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
            raise


def _connect(scheduler: str) -> Any:  # noqa: ANN401 - distributed.Client is not typed
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "a sweep on a cluster needs Dask: pip install 'adadecode[sweep]', or leave "
            "--scheduler out"
        ) from None
    if not re.fullmatch(
        r"(\w+://)?.+:\d+", scheduler
    ):  # a Client of one would end with a traceback
        raise InputError(
            f"wanted the Dask scheduler as tcp://host:port, got {scheduler!r}: "
            "`dask scheduler` prints its address"
        )
    try:
        return Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({error}): wanted tcp://host:port of a "
            "running `dask scheduler`"
        ) from None


def evaluate_part(evaluator: AnyEvaluator, designs: Sequence[Design]) -> pd.DataFrame:
    """Evaluate designs; a function of its own, so that it can be sent to a worker."""
    return evaluator.evaluate(designs)
