"""Sounds with a level that is known exactly."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Response = Callable[[Samples], NDArray[np.complex128]]

RATE_HZ = 48_000
LOOP = 1 << 17
_POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)


def a_weighting_db(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """A weighting, 0 dB at 1 kHz (IEC 61672-1:2013, annex E)."""
    return _a_db(frequency_hz) - _a_db(np.array([1000.0]))


def _a_db(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    f2 = np.maximum(frequency_hz, 1e-3) ** 2
    one, two, three, four = (pole * pole for pole in _POLES_HZ)
    gain = four * f2 * f2 / ((f2 + one) * np.sqrt((f2 + two) * (f2 + three)) * (f2 + four))
    result: NDArray[np.float64] = 20 * np.log10(gain)
    return result


def c_weighting_db(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """C weighting, 0 dB at 1 kHz (IEC 61672-1:2013, annex E)."""
    return _c_db(frequency_hz) - _c_db(np.array([1000.0]))


def _c_db(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    f2 = np.maximum(frequency_hz, 1e-3) ** 2
    one, four = _POLES_HZ[0] ** 2, _POLES_HZ[3] ** 2
    result: NDArray[np.float64] = 20 * np.log10(four * f2 / ((f2 + one) * (f2 + four)))
    return result


class Noise:
    """Traffic-like noise (pink above 50 Hz, to 16 kHz) that repeats every 2.7 s.

    Before response, a microphone's gain by frequency, its A-weighted level is 0 dB re a full-scale
    sine. Levels over some seconds are exact, shorter ones fluctuate as noise does.
    """

    def __init__(self, seed: int, response: Response | None = None) -> None:
        randomness = np.random.default_rng(seed)
        frequency_hz: Samples = np.fft.rfftfreq(LOOP, 1 / RATE_HZ).astype(np.float64)
        with np.errstate(divide="ignore"):
            amplitude = np.where(
                (frequency_hz >= 50) & (frequency_hz <= 16_000), frequency_hz**-0.5, 0.0
            )
        phases = randomness.uniform(0, 2 * np.pi, len(frequency_hz))
        weighted = amplitude * 10 ** (a_weighting_db(frequency_hz) / 20)
        power = 2 * np.sum(weighted**2) / LOOP**2
        spectrum = amplitude / np.sqrt(2 * power) * np.exp(1j * phases)
        if response is not None:
            spectrum = spectrum * response(frequency_hz)
        self._loop: Samples = np.fft.irfft(spectrum, LOOP)

    def samples(self, first: int, count: int) -> Samples:
        """count samples from number first."""
        places = (first + np.arange(count)) % LOOP
        return self._loop[places]
