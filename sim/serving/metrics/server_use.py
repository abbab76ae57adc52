"""What a server did in a run, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerUse:
    """What the devices of a server did; None stands for what nobody knows.

    Attributes:
        devices: How many devices there are.
        busy_s: Seconds in which a device worked, summed over the devices.
        kv_mean: Share of the blocks of keys and values in use, averaged over time, from the first
            arrival to the last token.
        kv_peak: Largest share in use.
        rounds: Verifications of drafts.
        drafts: Tokens drafted.
        accepted: Drafts that were right.
    """

    devices: int = 1
    busy_s: float | None = None
    kv_mean: float | None = None
    kv_peak: float | None = None
    rounds: int | None = None
    drafts: int | None = None
    accepted: int | None = None

    def utilisation(self, seconds: float) -> float | None:
        """Return the share of so many seconds in which the devices worked."""
        if self.busy_s is None or not seconds > 0:
            return None
        return self.busy_s / (self.devices * seconds)

    @property
    def acceptance_length(self) -> float | None:
        """Tokens a verification: its accepted drafts and the one that ends it.

        As vLLM does, it counts verifications of drafts alone, not rounds that drafted nothing.
        """
        if self.accepted is None or not self.rounds:
            return None
        return 1 + self.accepted / self.rounds

    @property
    def acceptance_rate(self) -> float | None:
        """Share of the drafts that were right."""
        if self.accepted is None or not self.drafts:
            return None
        return self.accepted / self.drafts
