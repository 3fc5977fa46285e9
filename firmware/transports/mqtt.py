"""MQTT with umqtt.simple's packets at QoS 0, over a socket of our own, without ever blocking.

Connecting blocks, so it has a thread. There is one such thread at a time; beside one that hangs in
DNS a second may use the address that is known.
"""

import _thread
import gc
import sys

from firmware.unload import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.settings import Settings
    from firmware.transports.attempt import Attempt
    from firmware.transports.stream import Stream
    from firmware.transports.wifi import Wifi
    from firmware.types import Hal

ATTEMPT_MS = 40_000  # then it is given up, though its thread may still hang
DNS_MS = 5_000  # then the known address is used, if there is one
STUCK_MS = 600_000  # a thread that hangs longer will hang for ever
RESOLVE_EVERY = 4  # tries with a known address, until DNS is asked again
RETRY_FIRST_MS = 500
RETRY_LAST_MS = 3_000
QUIET_MS = 4_000  # without a byte from the broker it is asked for one
ANSWER_MS = 5_000  # and has so long for the answer
DRAIN_MS = 10_000  # what is written must be taken within
CA_FILE = "ca.der"
CA_MAX_BYTES = 4096
STACK_BYTES = 12_288 if sys.platform == "esp32" else 131_072  # for TLS; for a host's resolver
IN_BYTES = 384
LOOPBACK = "127.0.0.1"  # a simulated board: what it says never leaves the machine
FOR_A_TRY = ("firmware.transports.attempt", "umqtt.simple", "umqtt")
_PUBLISH = 0x30


class Target:
    """Where and as whom to connect. address caches what DNS said last; topic's end is u, d or w."""

    def __init__(
        self,
        host: str,
        port: int,
        node: int,
        keepalive_s: int,
        user: str = "",
        password: str = "",
        tls: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.name = "%08x" % node
        self.keepalive_s = keepalive_s
        self.user = user
        self.password = password
        self.tls = tls
        self.address: "Any" = None

    def topic(self, end: str) -> bytes:
        """Topic of what goes up, comes down, or is the will."""
        return ("osn/1/" + self.name + "/" + end).encode()


class MqttTransport:
    """firmware.types.Transport over MQTT; wifi says when there is a network."""

    IDLE_MS = 1_000  # how long poll() may wait while nothing is awaited

    def __init__(self, settings: "Settings", wifi: "Wifi", hal: "Hal", node: int) -> None:
        self._wifi = wifi
        self._hal = hal
        self._target = Target(
            settings["broker_host"],
            settings["broker_port"],
            node,
            settings["keepalive_s"],
            settings["broker_user"],
            settings["broker_password"],
            bool(settings["broker_tls"]),
        )
        self.secure = self._target.tls or self._target.host == LOOPBACK
        self.connected = False
        self.reason = "not tried yet"
        self._untimely = 0
        self.connects = 0
        self.ignored = 0  # packets that were not for us
        self._attempt: "Attempt | None" = None
        self._hanging: "Attempt | None" = None
        self._began = 0
        self._hanging_since = 0
        self._misses = 0
        self._now = 0
        self._retry_at = 0
        self._retry_ms = RETRY_FIRST_MS
        self._stream: "Stream | None" = None
        self._in = bytearray(IN_BYTES)
        self._view = memoryview(self._in)
        self._filled = 0
        self._used = 0
        self._discard = 0
        self._heard = 0
        self._asked = -1
        self._drained = 0
        self._down = self._target.topic("d")
        up = self._target.topic("u")
        self._up = bytes((0, len(up))) + up

    def start(self, now_ms: int) -> None:
        """Begin to reach the broker."""
        self._retry_at = now_ms

    @property
    def stuck(self) -> bool:
        """A connect has hung for ten minutes: only a reset can end it."""
        return (
            self._hanging is not None
            and not self._hanging.done
            and self._now - self._hanging_since > STUCK_MS
        )

    def poll(self, now_ms: int) -> None:
        """Do what is due: the network, a connect, what came in, pings, deadlines."""
        self._now = now_ms
        network = self._wifi.poll(now_ms)
        if self.connected:
            if network:
                self._serve(now_ms)
            else:
                self._lose(self._wifi.reason, now_ms)
        elif self._attempt is not None:
            self._watch(self._attempt, now_ms)
        elif network and now_ms >= self._retry_at:
            self._begin(now_ms)
        elif not network:
            self.reason = self._wifi.reason

    def send(self, frame: memoryview) -> bool:
        """Publish a frame; False when the last one is not out yet or there is no link."""
        stream = self._stream
        if stream is None or stream.waiting:
            return False
        try:
            self._publish(stream, frame)
            stream.flush()
        except OSError as fault:
            self._lose("send: " + str(fault), self._now)
            return False
        return True

    def receive(self) -> "memoryview | None":
        """The next frame that came down, valid until the next call; None when there is none."""
        while self.connected:
            start = self._used
            packet = self._packet()
            if packet is None:
                return None
            if not packet:
                continue
            body, length = packet
            kind = self._in[start]
            if kind & 0xF0 != _PUBLISH:
                continue
            topic_end = body + 2 + (self._in[body] << 8 | self._in[body + 1])
            ours = self._in[body + 2 : topic_end] == self._down
            if kind & 0x0F or not ours or topic_end > body + length:
                self.ignored += 1
                continue
            return self._view[topic_end : body + length]
        return None

    def _publish(self, stream: "Stream", frame: memoryview) -> None:
        """PUBLISH at QoS 0, which needs nothing of umqtt."""
        left = len(self._up) + len(frame)
        head = bytearray((_PUBLISH, left))
        if left > 127:  # a frame keeps it below 2 ** 14
            head[1] = left & 127 | 128
            head.append(left >> 7)
        stream.write(head)
        stream.write(self._up)
        stream.write(frame)

    def untimely(self) -> int:
        """1 when the broker's certificate is of later than the clock says, -1 when it has expired
        by it, else 0; told once a try."""
        said = self._untimely
        self._untimely = 0
        return said

    def rssi_dbm(self) -> "int | None":
        """Strength of the Wi-Fi signal; None without one."""
        return self._wifi.rssi_dbm()

    def close(self) -> None:
        """Leave the broker and the network; start() begins anew."""
        if self._attempt is not None:
            self._abandon(self._attempt)
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self.connected = False
        self._wifi.close()

    # --- connecting ---

    def _begin(self, now_ms: int) -> None:
        known = self._target.address is not None
        hanging = self._hanging is not None and not self._hanging.done
        if hanging and not known:
            self.reason = "the last try still hangs"
            self._retry_at = now_ms + RETRY_LAST_MS
            return
        self._misses += 1
        gc.collect()  # what follows wants memory in one piece
        try:
            from firmware.transports.attempt import Attempt

            ca = _read(self._hal, CA_FILE) if self._target.tls else None
            attempt = Attempt(self._target, ca, not hanging and self._misses % RESOLVE_EVERY == 0)
            _thread.stack_size(STACK_BYTES)
            _thread.start_new_thread(attempt.run, ())
        except (OSError, RuntimeError, MemoryError, ImportError) as fault:
            unload(*FOR_A_TRY)  # one of them may have been loaded in part
            self._fail("thread: " + str(fault), now_ms)
            return
        self._attempt = attempt
        self._began = now_ms

    def _watch(self, attempt: Attempt, now_ms: int) -> None:
        if not attempt.done:
            in_dns = attempt.stage == "dns" and self._target.address is not None
            if now_ms - self._began > (DNS_MS if in_dns else ATTEMPT_MS):
                self._abandon(attempt)
                self._fail(attempt.stage + ": took too long", now_ms)
            return
        self._attempt = None
        if attempt.stream is None:
            self._untimely = attempt.untimely
            self._fail(attempt.reason, now_ms)
            return
        self._stream = attempt.stream
        unload(*FOR_A_TRY)
        self._filled = self._used = self._discard = 0
        self._heard = self._drained = now_ms
        self._asked = -1
        self.connected = True
        self.connects += 1
        self._misses = 0
        self.reason = ""
        self._retry_ms = RETRY_FIRST_MS

    def _abandon(self, attempt: Attempt) -> None:
        attempt.abandoned = True
        if self._hanging is None or self._hanging.done:
            self._hanging = attempt
            self._hanging_since = self._now
        self._attempt = None

    def _fail(self, reason: str, now_ms: int) -> None:
        self.reason = reason
        jitter = self._hal.random_bits(8) * self._retry_ms >> 9
        self._retry_at = now_ms + self._retry_ms // 2 + jitter
        self._retry_ms = min(RETRY_LAST_MS, self._retry_ms * 2)

    def _lose(self, reason: str, now_ms: int) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self.connected = False
        self._fail(reason, now_ms)

    # --- connected ---

    def _serve(self, now_ms: int) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            stream.flush()
            if not stream.waiting:
                self._drained = now_ms
            elif now_ms - self._drained > DRAIN_MS:
                raise OSError(110, "the broker takes nothing")
            self._take_in(stream, now_ms)
            self._ask(now_ms)
        except OSError as fault:
            self._lose("link: " + str(fault), now_ms)

    def _take_in(self, stream: "Stream", now_ms: int) -> None:
        if self._used:
            left = self._filled - self._used
            self._in[:left] = self._in[self._used : self._filled]
            self._filled = left
            self._used = 0
        if self._filled < IN_BYTES:
            count = stream.receive(self._view[self._filled :])
            if count:
                self._filled += count
                self._heard = now_ms
                self._asked = -1

    def _ask(self, now_ms: int) -> None:
        """PINGREQ after a quiet time; a half-open connection shows by its silence."""
        if self._asked >= 0:
            if now_ms - self._asked > ANSWER_MS:
                raise OSError(110, "the broker is silent")
        elif now_ms - self._heard > QUIET_MS and self._stream and not self._stream.waiting:
            self._stream.write(b"\xc0\0")  # PINGREQ
            self._stream.flush()
            self._asked = now_ms

    def _packet(self) -> "tuple[int, int] | tuple[()] | None":
        """(start, length) of the next packet's body, () for one passed over, None for none whole.

        A packet that no buffer holds is thrown away as it comes.
        """
        if self._discard:
            skipped = min(self._discard, self._filled - self._used)
            self._discard -= skipped
            self._used += skipped
        at = self._used + 1
        length = shift = 0
        while True:
            if at >= self._filled or self._discard:
                return None
            byte = self._in[at]
            length |= (byte & 127) << shift
            at += 1
            shift += 7
            if byte < 128:
                break
            if shift > 21:
                self._lose("not MQTT", self._now)
                return None
        end = at + length
        if end - self._used > IN_BYTES:
            self.ignored += 1
            self._discard = end - self._filled
            self._used = self._filled
            return None
        if end > self._filled:
            return None
        self._used = end
        return at, length


def _read(hal: "Hal", path: str) -> "bytes | None":
    try:
        length = hal.files.stat(path)[6]  # a read makes room for as much as it may give
        handle = hal.files.open(path, "rb")
    except OSError:
        return None
    try:
        return handle.read(min(length, CA_MAX_BYTES))
    finally:
        handle.close()
