"""Gas index: how a metal-oxide sensor's raw signal stands against its own last day.

The method that Sensirion describes for SGP40 and SGP41 ("VOC Index for Experts", "What is
Sensirion's NOx Index?") and publishes as gas index algorithm 3.2: a slow mean and deviation of the
signal, learned faster at first and slower while there is an event; the distance to the mean, bent
to 0..500 around what is usual; smoothed, the more the steadier it is. One sample a second.
Floats stay small, for a board's are single: the mean is kept as a difference to a whole base.
"""

from math import exp, sqrt

BLACKOUT_S = 45
TOP = 500.0
GAIN = 230.0
DEVIATION_START = 50.0
LEARN_S = 43200.0
LEARN_DEVIATION_FIRST_S = 2500.0
BEND_MAX = 50.0
AGE_MAX_S = 32766
FAST_S, SLOW_S, STEADINESS = 20.0, 500.0, 0.2
GATE_START = 510.0
GATE_SLOPE, LEARN_SLOPE = 0.09, 0.01
RECOVERY = 0.3
MEAN_MAX = 100.0
SPAN = 32767


def fading(x: float, middle: float, slope: float) -> float:
    """1 well below the middle, 0 well above; steeper with slope."""
    bend = slope * (x - middle)
    if bend > BEND_MAX:
        return 0.0
    return 1.0 if bend < -BEND_MAX else 1.0 / (1.0 + exp(bend))


def share(time_s: float) -> float:
    """Share of a new sample in a mean that forgets over so many seconds."""
    return 1.0 / (time_s + 1.0)


class Kind:
    """What differs between gases; bonus 0 means a fixed deviation and a signal that rises."""

    def __init__(
        self,
        lowest: int,
        mean_first_s: float,
        mean_learned_s: float,
        deviation_learned_s: float,
        gate: float,
        event_max_min: float,
        slope: float,
        middle: float,
        bonus: float,
    ) -> None:
        self.lowest = lowest
        self.mean_first_s = mean_first_s
        self.mean_learned_s = mean_learned_s
        self.deviation_learned_s = deviation_learned_s
        self.gate = gate
        self.event_max_min = event_max_min
        self.slope = slope
        self.middle = middle
        self.bonus = bonus


VOC = Kind(20000, 20.0, 2700.0, 5220.0, 340.0, 180.0, 0.0065, 213.0, 220.0)
NOX = Kind(10000, 1200.0, 17100.0, 20520.0, 30.0, 720.0, 0.0101, 614.0, 0.0)
NOX_DEVIATION = 2000.0


class Learner:
    """Mean and deviation of a signal; learns little from what the index calls an event."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.base = 0
        self.mean = 0.0
        self.deviation = DEVIATION_START
        self._started = False
        self._age_s = 0
        self._gate_age_s = 0
        self._event_min = 0.0

    def distance(self, signal: int) -> float:
        """How far a signal lies above the mean; the first one is the mean."""
        if not self._started:
            self._started = True
            self.base = signal
        return signal - self.base - self.mean

    def learn(self, signal: int, index: float) -> None:
        """Take a sample, and the index that it has got."""
        if abs(self.mean) >= MEAN_MAX:
            whole = int(self.mean)
            self.base += whole
            self.mean -= whole
        mean_share, deviation_share = self._shares(index)
        away = self.distance(signal)
        scale = max(self.deviation, abs(away), 1.0)
        old, new = self.deviation / scale, away / scale
        variance = (1.0 - deviation_share) * (old * old + deviation_share * new * new)
        self.deviation = scale * sqrt(variance)
        self.mean += mean_share * away

    def _shares(self, index: float) -> "tuple[float, float]":
        """Shares of this sample in mean and deviation."""
        kind = self.kind
        self._age_s = min(self._age_s + 1, AGE_MAX_S)
        self._gate_age_s = min(self._gate_age_s + 1, AGE_MAX_S)
        last = share(LEARN_S)
        young = fading(self._age_s, kind.mean_learned_s, LEARN_SLOPE)
        of_mean = last + (share(kind.mean_first_s) - last) * young
        young = fading(self._age_s, kind.deviation_learned_s, LEARN_SLOPE)
        of_deviation = last + (share(LEARN_DEVIATION_FIRST_S) - last) * young
        calm = self._calm(index, kind.mean_learned_s)
        minutes = self._event_min + ((1.0 - calm) * (1.0 + RECOVERY) - RECOVERY) / 60.0
        self._event_min = max(minutes, 0.0)
        of_deviation *= self._calm(index, kind.deviation_learned_s)
        if self._event_min > kind.event_max_min:
            self._gate_age_s = 0
        return of_mean * calm, of_deviation

    def _calm(self, index: float, learned_s: float) -> float:
        """1 while the index is usual, towards 0 in an event; at first everything is usual."""
        gate = self.kind.gate
        gate += (GATE_START - gate) * fading(self._gate_age_s, learned_s, GATE_SLOPE)
        return fading(index, gate, GATE_SLOPE)


class Smoother:
    """A low pass that follows changes fast and steady air slowly."""

    def __init__(self) -> None:
        self._started = False
        self._fast = self._slow = self._value = 0.0

    def smooth(self, sample: float) -> float:
        """The smoothed value after a sample."""
        if not self._started:
            self._started = True
            self._fast = self._slow = self._value = sample
        self._fast += share(FAST_S) * (sample - self._fast)
        self._slow += share(SLOW_S) * (sample - self._slow)
        steady = exp(-STEADINESS * abs(self._fast - self._slow))
        self._value += share(FAST_S + (SLOW_S - FAST_S) * steady) * (sample - self._value)
        return self._value


class GasIndex:
    """VOC index (usual: 100) or NOx index (usual: 1) of raw signals, 0..500; 0 at first."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.index = 0.0
        self.age_s = 0
        self._learner = Learner(kind)
        self._smoother = Smoother()

    @property
    def learned(self) -> bool:
        """Whether it knows what is usual here."""
        return self.age_s >= self.kind.mean_learned_s

    def update(self, raw: int) -> int:
        """The index after one more second, with the raw signal in ticks."""
        self.age_s += 1
        if self.age_s <= BLACKOUT_S:
            return 0
        kind = self.kind
        signal = min(max(raw - kind.lowest, 1), SPAN)
        above = self._learner.distance(signal)
        if kind.bonus:
            level = -above / (self._learner.deviation + kind.bonus) * GAIN
        else:
            level = above / NOX_DEVIATION * GAIN
        bent = TOP * fading(-level, -kind.middle, kind.slope)
        self.index = max(self._smoother.smooth(bent), 0.5)
        self._learner.learn(signal, self.index)
        return int(self.index + 0.5)
