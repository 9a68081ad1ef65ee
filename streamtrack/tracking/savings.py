"""Opt-in approximations: less work for masks that differ a little."""

from dataclasses import dataclass

from streamtrack.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Savings:
    """What may be left out; the defaults leave out nothing.

    What each does to speed and masks is in benchmarks/LOG.md.
    """

    memory_pooling: int = 1
    """2: memory attention reads squares of 2x2 memory cells as one (SAM 2 models only)."""
    mask_memories: int | None = None
    """Ordinary mask memories that are read, the newest ones; None = as many as the model knows."""
    memory_every: int = 1
    """n: only every n-th frame leaves a mask memory; the others leave an object pointer."""

    def __post_init__(self) -> None:
        """Raise ConfigError for values that mean nothing."""
        if self.memory_pooling not in (1, 2):
            raise ConfigError(
                f"The memory pooling is {self.memory_pooling}, but must be 1 (none) or 2."
            )
        if self.mask_memories is not None and self.mask_memories < 1:
            raise ConfigError(
                f"The number of mask memories is {self.mask_memories}, but must be at least 1."
            )
        if self.memory_every < 1:
            raise ConfigError(
                f"Every {self.memory_every}-th frame cannot be remembered; give 1 or more."
            )
