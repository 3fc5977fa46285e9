"""Which sections belong into which frames, and how long arguments are."""

from protocol import wire

# Critical sections that a frame of a type may hold, and the one that it holds exactly once.
ALLOWED: dict[int, frozenset[int]] = {
    wire.T_DATA: frozenset({wire.S_SAMPLES}),
    wire.T_HELLO: frozenset(),
    wire.T_LIVE: frozenset({wire.S_STATE, wire.S_SAMPLES}),
    wire.T_LOG: frozenset(),
    wire.T_RESULT: frozenset({wire.S_OUTCOME}),
    wire.T_ACK: frozenset({wire.S_ACK}),
    wire.T_TIME: frozenset({wire.S_TIME}),
    wire.T_CONFIG: frozenset({wire.S_CONFIG}),
    wire.T_COMMAND: frozenset({wire.S_COMMAND}),
    wire.T_UPDATE: frozenset({wire.S_UPDATE}),
}
REQUIRED: dict[int, int] = {
    wire.T_LIVE: wire.S_STATE,
    wire.T_RESULT: wire.S_OUTCOME,
    wire.T_ACK: wire.S_ACK,
    wire.T_TIME: wire.S_TIME,
    wire.T_CONFIG: wire.S_CONFIG,
    wire.T_COMMAND: wire.S_COMMAND,
    wire.T_UPDATE: wire.S_UPDATE,
}

# Bytes of arguments of the commands that have a fixed number of them.
ARGUMENTS = {wire.C_OTHER_SLOT: 4, wire.C_DROP_SPOOL: 4, wire.C_RESEND: 12}

# Bytes of the INFO entries that have a fixed number of them.
INFO_LENGTHS = {
    wire.INFO_RESET_CAUSE: 1,
    wire.INFO_REGISTRY: 2,
    wire.INFO_IDENTITY: 16,
    wire.INFO_KEY_SWITCH: 8,
}
