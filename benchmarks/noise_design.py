"""The fit of the meter's coefficients to the analytic curves, for each microphone.

    python -m benchmarks.noise_design

The kernel's sections repeat every four samples, so a tone comes out with images; a response here
is the energy of all of them, which is what a level is made of.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from firmware.noise import microphones, reference
from simulator.devices.microphone import response
from simulator.devices.sound import a_weighting_db, c_weighting_db

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

RATE_HZ = 48_000
GROUP = 4
LOWEST_HZ = 20.598997
FREQUENCIES_HZ: Floats = np.geomspace(16.0, 20_000.0, 90)
DEEP = reference.DEEP / (1 << 17)
BASS = reference.BASS / (1 << 15)
MIDDLE = reference.MIDDLE / (1 << 12)


def _high_pass(pole: float, z: Complex) -> Complex:
    return (1 - 1 / z) / (1 - (1 - pole) / z)


def gains_db(
    frequency_hz: Floats, top: Floats, shares: tuple[float, float]
) -> tuple[Floats, Floats]:
    """A and C gain of the kernel; top: pole, zero 1, zero 2; shares of the low sections."""
    angle = 2 * np.pi * frequency_hz / RATE_HZ
    z = np.exp(1j * angle)
    group = z**GROUP
    total = sum(z**k for k in range(GROUP))
    first = DEEP * total * group / (group - 1 + GROUP * DEEP)
    second = GROUP * DEEP * first / (1 - (1 - GROUP * DEEP) / group)
    low = shares[0] * first + shares[1] * second
    before = low / group
    samples = [z**k + before + (low - before) * (k + 1) / GROUP for k in range(GROUP)]
    a_energy = np.zeros(len(frequency_hz))
    c_energy = np.zeros(len(frequency_hz))
    for image in range(GROUP):
        turned = angle + 2 * np.pi * image / GROUP
        here = np.exp(1j * turned)
        part = sum(s * np.exp(-1j * turned * k) for k, s in enumerate(samples)) / GROUP
        part = part * (1 + top[1] / here + top[2] / here**2) / (1 - top[0] / here)
        c_energy += np.abs(part) ** 2
        a_energy += np.abs(part * _high_pass(BASS, here) * _high_pass(MIDDLE, here)) ** 2
    return 10 * np.log10(a_energy), 10 * np.log10(c_energy)


def errors_db(
    kind: microphones.Microphone, top: Floats, shares: tuple[float, float]
) -> tuple[Floats, Floats]:
    """A and C error with the microphone before the kernel, 0 dB at 1 kHz."""
    frequency_hz = np.append(FREQUENCIES_HZ, 1000.0)
    heard_db = 20 * np.log10(np.abs(response(kind, frequency_hz)))
    found = []
    for gain_db, curve in zip(
        gains_db(frequency_hz, top, shares), (a_weighting_db, c_weighting_db), strict=True
    ):
        error_db = gain_db + heard_db - curve(frequency_hz)
        found.append((error_db - error_db[-1])[:-1])
    return found[0], found[1]


def bass_shares(kind: microphones.Microphone) -> tuple[float, float]:
    """Shares that turn the microphone's double pole into that of the weighting."""
    ratio = (kind.rolloff_hz - LOWEST_HZ) / LOWEST_HZ if kind.rolloff_hz else -1.0
    return round(512 * ratio) / 256, round(256 * ratio * ratio) / 256


def fit(kind: microphones.Microphone) -> Floats:
    """Pole and zeros with the smallest largest error; beyond 16.5 kHz it may be twice as large."""
    weight = np.where(FREQUENCIES_HZ > 16_500, 0.4, 1.0)
    shares = bass_shares(kind)

    def cost(top: Floats) -> float:
        both = np.concatenate([error * weight for error in errors_db(kind, top, shares)])
        return float(np.sum(np.abs(both) ** 12) ** (1 / 12))

    top = np.array(kind.coefficients[:3]) / 4096
    for _ in range(4):
        top = minimize(cost, top, method="Nelder-Mead", options={"maxiter": 2000}).x
    return top


def main() -> None:
    """Print shipped and fitted coefficients, and the largest errors from 31.5 Hz to 16 kHz."""
    inside = (FREQUENCIES_HZ > 31) & (FREQUENCIES_HZ < 16_500)
    for name, kind in microphones.KNOWN.items():
        shares = bass_shares(kind)
        fitted = np.round(fit(kind) * 4096).astype(int)
        print(f"{name}: shipped {kind.coefficients}, fitted {tuple(map(int, fitted))}")
        shipped = np.array(kind.coefficients[:3]) / 4096
        for label, top in (("shipped", shipped), ("fitted", fitted / 4096)):
            a_db, c_db = errors_db(kind, top, shares)
            print(
                f"  {label}: A {np.abs(a_db[inside]).max():.3f} dB, "
                f"C {np.abs(c_db[inside]).max():.3f} dB, 20 kHz {a_db[-1]:+.2f} dB"
            )
        at = np.array([1000.0])
        a_gain, c_gain = gains_db(at, shipped, shares)
        print(f"  gain at 1 kHz: A {a_gain[0]:.4f} dB, C {c_gain[0]:.4f} dB")


if __name__ == "__main__":
    main()
