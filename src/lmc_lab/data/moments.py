"""Mean and deviation of each channel of data that do not fit into memory."""

import numpy as np

_ROUNDING = (
    1e-10  # relative to the mean: of equal values sums in float64 leave less, and float32 does not tell as much apart
)


class ChannelMoments:
    """Moments of blocks (B, C, ...), joined in float64 by the update of Chan, Golub and LeVeque (1979), eq. 2.1."""

    def __init__(self) -> None:
        self.count = 0  # of values in a channel
        self.mean = np.zeros(())  # (C,)
        self._squares = np.zeros(())  # (C,), of differences from the mean

    def add(self, block: np.ndarray) -> None:
        """Adds the values of a block (B, C, ...); a block (B,) has one channel."""
        values = block.reshape(len(block), block.shape[1] if block.ndim > 1 else 1, -1).astype(np.float64)
        count = values.shape[0] * values.shape[2]
        mean = values.mean(axis=(0, 2))
        squares = np.square(values - mean[:, None]).sum(axis=(0, 2))
        total = self.count + count
        difference = mean - self.mean
        self.mean = self.mean + difference * (count / total)
        self._squares = self._squares + squares + np.square(difference) * (self.count * count / total)
        self.count = total

    @property
    def deviation(self) -> np.ndarray:
        """The deviation of each channel, (C,): 1 where all values are the same, so that one may divide by it."""
        deviations = np.sqrt(self._squares / self.count)
        return np.where(deviations > _ROUNDING * np.abs(self.mean), deviations, 1.0)
