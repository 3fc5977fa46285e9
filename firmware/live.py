"""LIVE: the time beacon, what is kept and dropped, the newest values, and the board's health."""

from firmware import reports
from protocol import quantity, wire
from protocol.samples import Batch, Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node
    from firmware.sampling import Sampler

_HEALTH = (
    quantity.FREE_HEAP,
    quantity.NATIVE_HEAP,
    quantity.QUEUE_DEPTH,
    quantity.BUS_ERRORS,
    quantity.RSSI,
    quantity.CHIP_TEMPERATURE,
    quantity.RESET_CAUSE,
)
COLUMNS_MAX = 63


class Live:
    """Keeps the newest row of all scalar channels, and builds LIVE frames with it."""

    def __init__(self, sampler: "Sampler | None") -> None:
        channels: "list[Channel]" = []
        if sampler is not None:
            for channel in sampler.channels:
                if not channel.bands and len(channels) < COLUMNS_MAX - len(_HEALTH):
                    channels.append(channel)
            sampler.live = self
        self._health_from = len(channels)
        for id in _HEALTH:
            channels.append(Channel(id))
        self._batch = Batch(channels, 1)
        self.counter = 0  # header seq of the last LIVE

    def open_row(self, t_ms: int) -> None:
        """Begin the row of an instant."""
        self._batch.start(t_ms, 0)
        self._batch.add_row(t_ms)

    def put(self, column: int, value: "int | None", quality: int) -> None:
        """Set a scalar channel's value."""
        if column < self._health_from:
            self._batch.put(column, value, quality)

    def build(self, node: "Node", uptime_ms: int) -> memoryview:
        """The next LIVE frame, valid until the builder is used again."""
        self.counter += 1
        outbox = node.outbox
        builder = outbox.builder
        builder.begin(wire.T_LIVE, node.identity.node, node.identity.boot, self.counter)
        reports.state(
            builder,
            uptime_ms,
            node.downlink.seq,
            node.settings["revision"],
            node.downlink.collector,
            self._flags(node, uptime_ms),
            outbox.boots(),
            outbox.spool.unlisted,
            outbox.drops.counts,
        )
        if node.sampler is None or not node.sampler.row_open:
            self._samples(node, uptime_ms)
        return builder.view[: builder.finish()]

    def _samples(self, node: "Node", uptime_ms: int) -> None:
        if not self._batch.rows:
            self.open_row(uptime_ms)
        values = (
            node.hal.free_heap(),
            node.hal.idf_heap(),
            node.outbox.issued - node.outbox.boots()[-1][1] + 1,
            node.bus_errors(),
            node.rssi_dbm(),
            node.chip_temperature(),
            node.hal.reset_cause(),
        )
        for index in range(len(values)):
            self._batch.put(self._health_from + index, values[index])
        reports.samples(node.outbox.builder, self._batch)

    def _flags(self, node: "Node", now: int) -> int:
        flags = wire.STATE_NO_SPOOL if node.outbox.spool.failed else 0
        if node.safe_mode:
            flags |= wire.STATE_SAFE_MODE
        if node.clock.holding_over(now):
            flags |= wire.STATE_CLOCK_HELD
        return flags
