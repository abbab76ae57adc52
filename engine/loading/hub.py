"""Whether a model is here or has to come from the hub, found out within seconds.

The libraries ask the hub again and again before they give up, for each file of a model: without a
network, minutes pass in silence. So the hub is asked once, with a bound, before they are.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from huggingface_hub import constants, get_session, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils._validators import validate_repo_id

from adadecode.engine.runtime.shared_setting import SharedSetting
from adadecode.profiles.errors import InputError

ANSWER_S = 5.0
"""Seconds that the hub has to connect, and as many to answer."""

LONGEST_S = 8.0
"""Seconds after which nothing is waited for, a name server included."""

REMEMBERED_S = 60.0
"""Seconds for which an answer counts: a model's files are loaded one after another."""

DESCRIPTIONS = ("config.json", "tokenizer_config.json", "heads.json")
"""Files of which a cached copy has one, whatever it is a copy of."""

_answers: dict[str, tuple[float, bool]] = {}
"""By endpoint, when it was asked and whether it answered."""

_told: set[str] = set()
"""Models of which a warning said that their cached copy is taken."""


def from_here(
    name_or_path: str | Path, cache: str | Path | None = None, files: Sequence[str] = ()
) -> bool:
    """Return whether a model is to be loaded from this machine alone, without asking the hub.

    It is where the name is a folder, or the hub is not to be asked (``HF_HUB_OFFLINE``) or does not
    answer and a cached copy is there; a warning then says that the copy is taken.

    Args:
        name_or_path: A name on the hub, or a folder.
        cache: The folder of cached copies; the libraries' own by default.
        files: Files of which a cached copy has one, besides `DESCRIPTIONS`.

    Raises:
        InputError: It is neither a folder nor a name, or is not here and the hub does not answer.
    """
    name = str(name_or_path)
    if name and Path(name).is_dir():
        return True
    _check_name(name)
    kept = constants.HF_HUB_CACHE if cache is None else cache
    cached = any(
        isinstance(try_to_load_from_cache(name, file, kept), str)
        for file in (*DESCRIPTIONS, *files)
    )
    where = f"no folder {name} is here, and no copy of it in the cache {kept}"
    if is_offline_mode():
        if not cached:
            raise InputError(
                f"{where}; HF_HUB_OFFLINE is set: give a folder, or unset it to ask the hub"
            )
        return True
    if _answers_now(name):
        return False
    if not cached:
        raise InputError(
            f"{where}, and the hub at {constants.ENDPOINT} does not answer (it was given "
            f"{LONGEST_S:.0f} s): give a folder, or connect to the network"
        )
    if name not in _told:
        _told.add(name)
        warnings.warn(
            f"the hub at {constants.ENDPOINT} does not answer: the cached copy of {name} is taken; "
            "set HF_HUB_OFFLINE=1 not to ask it",
            stacklevel=3,
        )
    return True


def hub_reason(error: BaseException, name: str) -> str | None:
    """Return why the hub did not give a model, in words; None where it is not the reason.

    Args:
        error: What a library raised.
        name: The name of the model.
    """
    chain = list(_causes(error))
    if any(isinstance(one, GatedRepoError) for one in chain):
        return f"access to {name} must be granted on its page, and HF_TOKEN set to a token"
    if any(isinstance(one, RepositoryNotFoundError) for one in chain):
        return f"the hub has no {name}, or it is private and HF_TOKEN lacks a token for it"
    if any(isinstance(one, LocalEntryNotFoundError) for one in chain):
        return "not all of its files are in the cache, and the hub gave none"
    answers = (one.response for one in chain if isinstance(one, HfHubHTTPError))
    status = next((one.status_code for one in answers if one is not None), None)
    return None if status is None else f"the hub answered with HTTP status {status}"


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Let the hub's library log no more than errors, which are explained where they end."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


quiet_hub = SharedSetting(_quiet_hub)


def _check_name(name: str) -> None:
    """Raise InputError for what can be no name on the hub, such as the path of a missing folder."""
    if Path(name).is_file():
        raise InputError(f"wanted the folder of a model, got the file {name}: give its folder")
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise InputError(
            f"no folder {name or repr(name)}: give the folder of a model, or a name on the hub "
            "like owner/name"
        ) from None


def _answers_now(name: str) -> bool:
    """Whether the hub answers, whatever it says; asked again only after a while."""
    endpoint = constants.ENDPOINT
    asked, answered = _answers.get(endpoint, (-REMEMBERED_S, False))
    if time.monotonic() - asked >= REMEMBERED_S:
        answered = _ask(f"{endpoint}/api/models/{name}")
        _answers[endpoint] = time.monotonic(), answered
    return answered


def _ask(url: str) -> bool:
    """Whether there is an answer within `LONGEST_S`, and not that the hub is out of order."""
    found: list[bool] = []

    def ask() -> None:
        try:
            status = get_session().head(url, timeout=ANSWER_S).status_code
        except Exception:  # noqa: BLE001 -- no answer is no answer, whatever the reason
            return
        found.append(status < 500)  # a server in trouble is asked again and again, too

    thread = Thread(target=ask, daemon=True)  # a name server has no bound of its own
    thread.start()
    thread.join(LONGEST_S)
    return any(found)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
