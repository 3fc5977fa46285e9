"""The VM's time module; in stepped time the host's clock stands in for the chip's.

Stepped time moves in sleep only. A program that polls the clock without ever sleeping would wait
for ever, so that is an error here.
"""

import _host
from utime import *  # noqa: F403

if _host.STEPPED:
    _PERIOD = 1 << 30
    _HALF = _PERIOD >> 1
    _POLLS_MAX = 200000
    _polls = 0

    def ticks_ms():
        global _polls
        _polls += 1
        if _polls > _POLLS_MAX:
            raise RuntimeError("the clock is polled without a sleep: stepped time stands still")
        if not _host.now_ms:
            _host.boot()
        return _host.now_ms & (_PERIOD - 1)

    def ticks_us():
        return (ticks_ms() * 1000) & (_PERIOD - 1)

    def ticks_cpu():
        return ticks_us()

    def ticks_add(ticks, delta):
        return (ticks + delta) & (_PERIOD - 1)

    def ticks_diff(ticks1, ticks2):
        return ((ticks1 - ticks2 + _HALF) & (_PERIOD - 1)) - _HALF

    def sleep_ms(ms):
        global _polls
        _polls = 0
        _host.call(_host.bridge.SLEEP, 0, ms if ms > 0 else 0)
        _host.run_idle_hooks()

    def sleep_us(us):
        sleep_ms((us + 999) // 1000)

    def sleep(seconds):
        sleep_ms(int(seconds * 1000))

    def time():
        return _host.now_ms // 1000

    def time_ns():
        return _host.now_ms * 1000000

else:
    import utime as _utime

    def sleep_ms(ms):
        _utime.sleep_ms(ms)
        if _host.idle_hooks:
            _host.run_idle_hooks()
