"""Runs a node against a broker for some seconds; prints what happens to its link as JSON lines.

Arguments: settings as JSON, seconds, "wifi" for a radio whose network is the file "network",
"sound" for a microphone that hears the file "sound", "gps" for a GPS, "clock=N" for a clock chip
that says Unix time N, "held=N" for TLS that holds the interpreter for N ms, "until=settled" to end
once a frame is acknowledged.
"""

import json
import os
import sys
import time

from pocket import Counter, Fix, PocketHal, Told, Wlan

from firmware.node import Node
from firmware.settings import Settings
from firmware.transports import attempt, mqtt

mqtt.unload = lambda *modules: None  # what is changed below stays changed
slow = [word for word in sys.argv if word.startswith("dns=")]
if slow:
    # Names resolve after so many seconds while the file "dns" is there; connections still work.
    import socket

    class Names:
        AF_INET, SOCK_STREAM = socket.AF_INET, socket.SOCK_STREAM
        socket = socket.socket

        @staticmethod
        def getaddrinfo(*arguments):
            try:
                os.stat("dns")
                time.sleep(int(slow[0][4:]))
            except OSError:
                pass
            return socket.getaddrinfo(*arguments)

    attempt.socket = Names
given = json.loads(sys.argv[1])
duration_ms = int(sys.argv[2]) * 1000
addresses = [int(word[5:]) for word in sys.argv if word.startswith("node=")]
hal = PocketHal(Wlan() if "wifi" in sys.argv else None, *addresses)
held = [word for word in sys.argv if word.startswith("held=")]
holding = []
if held:
    # On an ESP32 the arithmetic of TLS lets no other thread run: here the loop waits for it.
    secure = attempt.Attempt._secure

    def held_secure(self, sock):
        holding.append(1)
        time.sleep_ms(int(held[0][5:]))
        holding.clear()
        return secure(self, sock)

    attempt.Attempt._secure = held_secure
settings = Settings()
for name in given:
    settings.set(name, given[name])
sensor = Counter()
sensors = [(sensor, 0)]
if "gps" in sys.argv:
    sensors.append((Fix(), 0))
meter = None
if "sound" in sys.argv:
    import wide_viper

    wide_viper.install()
    from pocket_sound import CountingMeter, TapeI2s

    meter = CountingMeter(TapeI2s("sound"), 0)
    sensors.append((meter, 0))
for word in sys.argv:
    if word.startswith("clock="):
        sensors.append((Told(int(word[6:])), 0))
node = Node(hal, {"board": "pocket"}, settings, sensors=sensors)
node.start()
started = time.ticks_ms()
connected = False
reason = ""
longest_ms = 0
while True:
    while holding:
        time.sleep_ms(1)
    before = time.ticks_ms()
    now_ms = time.ticks_diff(before, started)
    if now_ms > duration_ms:
        break
    wait = node.step()
    longest_ms = max(longest_ms, time.ticks_diff(time.ticks_ms(), before))
    if node.transport.connected != connected or node.transport.reason != reason:
        connected, reason = node.transport.connected, node.transport.reason
        print(json.dumps({"at_ms": now_ms, "connected": connected, "reason": reason}))
    if "until=settled" in sys.argv and node.clock.source == 1 and node.downlink.ack_ms >= 0:
        if node.outbox.settled.upto(node.identity.boot):
            break
    time.sleep_ms(wait)
print(
    json.dumps(
        {
            "rows": node.sampler.rows,
            "missed": node.sampler.missed,
            "issued": node.outbox.issued,
            "settled": node.outbox.settled.upto(node.identity.boot),
            "longest_step_ms": longest_ms,
            "synchronised": node.clock.synchronised,
            "unix_ms": node.clock.unix_ms(node.clock.uptime_ms()),
            "error_ms": node.clock.error_ms(node.clock.uptime_ms()) if node.clock.source else -1,
            "connects": node.transport.connects,
            "refused": node.downlink.refused,
            "resent": node.outbox.uplink.resent,
            "rtc_s": hal.rtc_s,
            "rtc_sets": hal.rtc_sets,
            "noise": meter.account() if meter else None,
        }
    )
)
