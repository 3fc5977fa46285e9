"""Digital microphones ICS-43434 and INMP441 on I2S: the sound level meter of firmware/noise/."""

from firmware.noise.meter import Meter, from_board

__all__ = ("Meter", "from_board")
