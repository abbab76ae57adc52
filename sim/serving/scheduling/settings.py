"""How a server forms its steps."""

from __future__ import annotations

from dataclasses import dataclass, fields

from adadecode.profiles.errors import InputError
from adadecode.sim.core.scalars import whole_number

MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of one server, named as vLLM names them, with its defaults.

    Attributes:
        kv_blocks: Blocks of keys and values in all, the reserved one included.
        block_size: Positions of a block.
        max_batched_tokens: Tokens of a step.
        max_num_seqs: Sequences that run at once.
        prefix_caching: Whether blocks whose content is known are kept and shared.
        reserve_whole_prompt: Whether a request is admitted only when its whole prompt fits into
            free blocks, not just the chunk of this step.
        async_scheduling: Whether a step is formed while the one before it still runs. What that
            one gives is then known one step later.
        reserved_blocks: Blocks that no request gets. vLLM keeps block 0.

    Raises:
        InputError: If a number is not whole, or below what it can be.
    """

    kv_blocks: int
    block_size: int = 16
    max_batched_tokens: int = 2048
    max_num_seqs: int = 256
    prefix_caching: bool = True
    reserve_whole_prompt: bool = True
    async_scheduling: bool = True
    reserved_blocks: int = 1

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool):
                continue
            least = 0 if one.name == "reserved_blocks" else 1
            count = whole_number(value)
            if count is None or not least <= count <= MOST:
                raise InputError(
                    f"wanted {one.name} as a whole number from {least} to {MOST:,}, got {value!r}"
                )
        if self.usable_blocks < 1:
            raise InputError(
                f"wanted more than {self.reserved_blocks} blocks of keys and values, got "
                f"{self.kv_blocks}: {self.reserved_blocks} is reserved; give more with --kv-blocks"
            )

    @property
    def usable_blocks(self) -> int:
        """Blocks that requests can have."""
        return self.kv_blocks - self.reserved_blocks

    def has_room(self, n_tokens: int, running: int) -> bool:
        """Return whether a step of so many tokens could have had more, and more sequences."""
        return n_tokens < self.max_batched_tokens and running < self.max_num_seqs

    def blocks_of(self, positions: int) -> int:
        """Return how many blocks hold so many positions."""
        return -(-positions // self.block_size)
