"""The sound level meter: sensor of a node, from I2S to levels per period."""

from array import array
from math import log10

from firmware.noise import blocks, checks, levels, state
from firmware.noise.stream import BUFFER_MS, DMA_BYTES, Stream
from protocol.wire import Q_MISSING, Q_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.noise.bands import Bands
    from firmware.sensors.bus import Entry, Options
    from firmware.types import Row

START_BLOCKS = 50  # not counted after power-on: the microphone and the filters settle
OFFSET_BLOCKS = 20  # of them, from which the first DC is taken
SETTLE_BLOCKS = 10  # of them, after that
GAP_BLOCKS = 5  # not counted after lost sound: the filters ring
CHECK_BLOCKS = 150  # flagged as warming up: by then rate, offset and own noise have been seen
SECOND_BLOCKS = 100
SNAP_MS = 60  # an instant this close to a whole second after the last one is that second
OFFSET_MAX = 209715  # 5 % of full scale, in units of the quietest range

_LEVELS = 8  # scalars of firmware.noise.channels that are levels
_VALID_TIME = 8  # the scalar after them
_SCALARS = 9


class Meter:
    """Levels of the sound between one instant and the next.

    i2s is a machine.I2S (non-blocking through irq) or a hosted port whose readinto() gives what
    has come due. options: microphone (a name of microphones.KNOWN), calibration_db, threshold_db
    (adds the time above it), bands ("z" or "a": adds the spectrum), histogram (adds the classes).
    """

    LEAD_MS = 0
    ANSWER_MS = 300

    def __init__(self, i2s: "Any", options: "Options", now_ms: int = 0) -> None:
        # Modules that only this needs: firmware.sensors.microphone unloads them.
        from firmware.noise import channels, loader, microphones

        microphone = microphones.by_name(options.get("microphone", "flat"))
        self._floor_db = microphone.floor_db
        self._sensitivity_db = microphone.sensitivity_db
        self._gain_db = microphone.gain_db
        self._threshold_db = options.get("threshold_db")
        self._with_classes = bool(options.get("histogram"))
        self.CHANNELS = channels.channels(options)
        self.ready = False
        self.bus_errors = 0
        self.checksum_errors = 0
        self.reasons = 0  # bits of the period read last; texts: firmware.noise.reasons.names()
        self._weigh, self._takes_bytes = loader.load()
        self._bands: "Bands | None" = None
        if options.get("bands") is not None:
            from firmware.noise.bands import Bands

            self._bands = Bands(loader.load_spectrum(), microphone, options["bands"] == "a")
        self._state = state.new_state(microphone.coefficients)
        self._book = blocks.new_book()
        self._curve = blocks.bend()
        self._classes = array("H", bytes(2 * blocks.CLASSES))
        self._found = checks.new_found()
        self._rate = checks.RateCheck()
        self._sums = array("i", bytes(4 * 15))  # A, C, Z of the period: five words of 16 bits each
        self._values = [0] * len(self.CHANNELS)
        self._quality = Q_MISSING
        self._vector = array("H", bytes(2 * blocks.CLASSES))
        self._counted = 0  # blocks of the period
        self._skip = START_BLOCKS
        self._unchecked = CHECK_BLOCKS
        self._seen = 0  # reasons that the period has so far
        self._seconds = 0
        self._cut_ms = -1
        self._last_cut_ms = now_ms
        self._heard = 0
        self.calibrate(options.get("calibration_db", 0.0))
        self._stream = Stream(i2s, now_ms)

    def calibrate(self, calibration_db: float) -> None:
        """Take a new calibration constant: what is added to all levels."""
        self._calibration_db = calibration_db
        # a sine of 94 dB in units of the quietest range
        sine_db = self._sensitivity_db + 20 * log10(1 << 31 - state.SHIFT_MIN) - 10 * log10(2)
        self._a_offset_db = 94 + calibration_db - sine_db - self._gain_db[0]
        self._c_offset_db = 94 + calibration_db - sine_db - self._gain_db[1]
        block_db = 10 * log10(state.BLOCK)
        self._key_offset_db = self._a_offset_db - block_db
        book = self._book
        book[blocks.CLASS_BASE] = levels.linear_key(levels.CLASS_LOW_DB, self._key_offset_db)
        book[blocks.THRESHOLD] = blocks.KEY_MAX
        if self._threshold_db is not None:
            book[blocks.THRESHOLD] = levels.level_key(self._threshold_db, self._key_offset_db)

    # --- the sensor's interface ---

    def begin(self, now_ms: int) -> None:
        """The period ends now; ready comes once the sound up to now is through."""
        self.ready = False
        cut_ms = now_ms
        beyond = (now_ms - self._last_cut_ms + 500) % 1000 - 500
        if -SNAP_MS <= beyond <= SNAP_MS:
            cut_ms = now_ms - beyond
        self._cut_ms = cut_ms

    def poll(self, now_ms: int) -> int:
        """Use the sound that has come; ms until more can be expected."""
        self.service(now_ms)
        if self._cut_ms >= 0 and now_ms > self._cut_ms + self.ANSWER_MS:
            self._close()
        return BUFFER_MS

    def read(self, row: "Row") -> None:
        """Give the closed period's values to row.put()."""
        for index in range(_SCALARS):
            quality = Q_OK if index == _VALID_TIME else self._quality
            row.put(index, self._values[index], quality)
        index = _SCALARS
        if self._threshold_db is not None:
            row.put(index, self._values[index], self._quality)
            index += 1
        if self._bands is not None:
            row.put_vector(index, self._bands.values, self._quality)
            index += 1
        if self._with_classes:
            row.put_vector(index, self._vector, self._quality)
        self.ready = False

    # --- sound ---

    def service(self, now_ms: int) -> None:
        """Use all sound that has come. Allocates nothing, unless a period ends."""
        stream = self._stream
        sound = stream.next(now_ms)
        while sound is not None:
            if stream.gap:
                stream.gap = False
                self._skip = max(self._skip, GAP_BLOCKS)
            end_ms = stream.heard_ms()
            for block in sound:
                end_ms += state.BLOCK_MS
                if 0 <= self._cut_ms < end_ms:
                    self._close()
                self._block(block)
            stream.done()
            sound = stream.next(now_ms)
        if stream.seconds != self._seconds:
            self._seconds = stream.seconds
            if stream.overrun:
                stream.overrun -= 1
            else:
                self._rate.add(stream.slip_ms)

    def _block(self, block: "Any") -> None:
        if not self._takes_bytes and not hasattr(block, "cast"):
            block = array("i", bytes(block))
        self._weigh(0, 0, block, self._state)
        counted = 0
        if self._skip:
            self._skip -= 1
            if self._skip == SETTLE_BLOCKS + OFFSET_BLOCKS:
                self._book[blocks.OFFSET_SUM] = self._book[blocks.OFFSETS] = 0
            elif self._skip == SETTLE_BLOCKS:
                self._track_offset()
        else:
            counted = 1
            self._counted += 1
            if self._unchecked:
                self._unchecked -= 1
                self._seen |= 1 << checks.STARTING
        bands = self._bands
        if bands is not None:
            if counted:
                bands.add(block)
            else:
                bands.reset()
        blocks.fold(self._state, self._book, self._curve, self._classes, counted)
        self._heard += 1
        if self._heard % 20 == 0:
            checks.scan(block, self._found)
        if self._book[blocks.BLOCKS] >= SECOND_BLOCKS:
            self._second()

    def _second(self) -> None:
        """Move a second's sums to the period's, and judge the second."""
        book = self._book
        sums = self._sums
        for kind in range(3):
            carry = 0
            for place in range(4):
                word = blocks.SUMS + 4 * kind + place
                carry += sums[5 * kind + place] + book[word]
                sums[5 * kind + place] = carry & 0xFFFF
                carry >>= 16
                book[word] = 0
            sums[5 * kind + 4] += carry
        count = book[blocks.BLOCKS]
        if not count:
            return
        offset = self._track_offset()
        if offset > OFFSET_MAX or offset < -OFFSET_MAX:
            self._seen |= 1 << checks.OFFSET
        if book[blocks.OVERS]:
            self._seen |= 1 << checks.OVERLOAD
        if count >= SECOND_BLOCKS // 2:
            if checks.constant(self._found):
                self._seen |= 1 << checks.SILENT
            elif checks.shifted(self._found):
                self._seen |= 1 << checks.SHIFTED
            self._found[0] = self._found[1] = self._found[2] = 0
        if self._rate.wrong():
            self._seen |= 1 << checks.RATE
        book[blocks.BLOCKS] = book[blocks.OVERS] = 0

    def _track_offset(self) -> int:
        """Have the kernel take away the DC that was seen, as far as its filters let it through.

        Returns that DC, in units of the quietest range.
        """
        book = self._book
        here = self._state
        offset = book[blocks.OFFSET_SUM] // max(1, book[blocks.OFFSETS])
        book[blocks.OFFSET_SUM] = book[blocks.OFFSETS] = 0
        share = 256 + here[state.BASS_1] + here[state.BASS_2]
        seen = max(-OFFSET_MAX, min(OFFSET_MAX, offset)) >> here[state.SHIFT] - state.SHIFT_MIN
        here[state.OFFSET] = -share * max(-1023, min(1023, seen)) << 8
        return offset

    def _close(self) -> None:
        """End the period: its levels and its quality."""
        self._second()
        book = self._book
        counted = self._counted
        a_db = levels.mean_level(self._sums, 0, 5, counted, self._a_offset_db)
        found = (
            a_db,
            levels.key_level(book[blocks.FAST_MAX], self._key_offset_db),
            levels.key_level(book[blocks.FAST_MIN] if counted else 0, self._key_offset_db),
            levels.exceeded(self._classes, 10),
            levels.exceeded(self._classes, 50),
            levels.exceeded(self._classes, 90),
            levels.mean_level(self._sums, 5, 5, counted, self._c_offset_db),
            levels.key_level(book[blocks.PEAK_KEY], self._c_offset_db),
        )
        trusted = self._judge(a_db)
        for index in range(_LEVELS):
            self._values[index] = round(found[index] * 10) if trusted else 0
        self._values[_VALID_TIME] = counted * state.BLOCK_MS
        if self._threshold_db is not None:
            self._values[_SCALARS] = book[blocks.ABOVE] * state.BLOCK_MS
        if self._bands is not None:
            self._bands.close(self._calibration_db, trusted)
        for place in range(blocks.CLASSES):
            self._vector[place] = self._classes[place]
            self._classes[place] = 0
        for place in range(15):
            self._sums[place] = 0
        book[blocks.FAST_MAX] = book[blocks.PEAK_KEY] = book[blocks.ABOVE] = 0
        book[blocks.FAST_MIN] = blocks.KEY_MAX
        self._counted = 0
        self._seen = 0
        self._last_cut_ms = self._cut_ms
        self._cut_ms = -1
        self.ready = True

    def _judge(self, a_db: float) -> bool:
        """Set the period's quality; whether its levels can be true at all."""
        period_ms = self._cut_ms - self._last_cut_ms
        seen = self._seen
        if not self._counted:
            seen |= 1 << checks.NO_SOUND
        elif a_db < self._floor_db - 10:
            seen |= 1 << checks.SILENT
        elif a_db < self._floor_db - 1:
            seen |= 1 << checks.TOO_QUIET
        if 2 * self._counted * state.BLOCK_MS < period_ms:
            seen |= 1 << checks.GAPS
        self.reasons = seen
        self._quality, trusted = checks.quality(seen)
        return trusted


def from_board(entry: "Entry", hal: "Any", now_ms: int = 0) -> "Any":
    """Build it from an entry of board.json, such as {"driver": "ics43434", "bus": "i2s:mic"}.

    A port that measures levels by itself brings its meter(options, now_ms).
    """
    spec = dict(hal.board["i2s"][entry["bus"].split(":")[1]])
    spec["buffer"] = DMA_BYTES
    options = dict(entry.get("options", {}))
    options.setdefault("microphone", entry["driver"])
    port = hal.i2s(spec)
    ready_made = getattr(port, "meter", None)
    return ready_made(options, now_ms) if ready_made else Meter(port, options, now_ms)
