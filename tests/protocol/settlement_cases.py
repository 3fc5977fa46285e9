"""Cases of what an ACK may cover, as events and what must follow.

Events: ["frame", boot, seq, trailer, verdict] an authentic frame and what is decided on it;
["commit"], ["fail"]; ["live", [[boot, lowest kept, highest issued], ...], drops, unlisted, ours,
[[boot, first, last], ...]] with whether it names this collector, and what it makes lost;
["erase", boot, first, last]; ["decide", boot]; ["ack", boot, upto, mask].
"""

from typing import Any


def stored(boot: int, *seqs: int) -> list[list[Any]]:
    return [*(["frame", boot, seq, f"t{seq}", "store"] for seq in seqs), ["commit"]]


def case(name: str, *events: list[Any] | list[list[Any]]) -> dict[str, Any]:
    flat: list[list[Any]] = []
    for event in events:
        if event and isinstance(event[0], list):
            flat.extend(event)
        else:
            flat.append(event)
    return {"name": name, "events": flat}


CASES = [
    case("nothing is known", ["ack", 10, 0, 0]),
    case("a first frame", stored(10, 1), ["ack", 10, 1, 0]),
    case(
        "nothing is covered before the commit",
        ["frame", 10, 1, "a", "store"],
        ["ack", 10, 0, 0],
        ["commit"],
        ["ack", 10, 1, 0],
    ),
    case(
        "a failed commit covers nothing and the resend is stored",
        ["frame", 10, 1, "a", "store"],
        ["fail"],
        ["ack", 10, 0, 0],
        ["frame", 10, 1, "a", "store"],
        ["commit"],
        ["ack", 10, 1, 0],
    ),
    case(
        "a duplicate of a pending frame is silent",
        ["frame", 10, 1, "a", "store"],
        ["frame", 10, 1, "a", "pending"],
        ["commit"],
        ["frame", 10, 1, "a", "again"],
        ["ack", 10, 1, 0],
    ),
    case("any order", stored(10, 3, 1, 2), ["ack", 10, 3, 0]),
    case("the mask begins two above", stored(10, 1, 3, 4, 6), ["ack", 10, 1, 0b1011]),
    case("the first is missing", stored(10, 2, 3), ["ack", 10, 0, 0b11]),
    case("the mask ends after 32", stored(10, 1, 34, 35), ["ack", 10, 1, 1 << 31]),
    case("boots are apart", stored(10, 1, 2), stored(11, 1), ["ack", 10, 2, 0], ["ack", 11, 1, 0]),
    case(
        "another trailer is a conflict that no ACK passes",
        stored(10, 1, 2, 3, 5),
        ["frame", 10, 2, "other", "conflict"],
        ["commit"],
        ["ack", 10, 1, 0],
        ["frame", 10, 2, "other", "again"],
        ["frame", 10, 2, "t2", "again"],
        ["decide", 10],
        ["ack", 10, 3, 1],
    ),
    case(
        "a conflict above a gap ends the mask",
        stored(10, 1, 3, 5, 7),
        ["frame", 10, 5, "other", "conflict"],
        ["commit"],
        ["ack", 10, 1, 0b1],
    ),
    case(
        "a conflict of the first frame",
        stored(10, 1, 2),
        ["frame", 10, 1, "other", "conflict"],
        ["commit"],
        ["ack", 10, 0, 0],
    ),
    case(
        "a conflict whose commit failed is forgotten",
        stored(10, 1, 2),
        ["frame", 10, 2, "other", "conflict"],
        ["frame", 10, 2, "other", "pending"],
        ["fail"],
        ["ack", 10, 2, 0],
        ["frame", 10, 2, "other", "conflict"],
        ["commit"],
        ["ack", 10, 1, 0],
    ),
    case(
        "a fifth other frame of one number",
        stored(10, 1),
        *(["frame", 10, 1, f"other{each}", "conflict"] for each in range(4)),
        ["commit"],
        ["frame", 10, 1, "other4", "too many conflicts"],
    ),
    case(
        "before our time",
        ["live", [[10, 101, 120]], 7, 0, False, []],
        ["ack", 10, 100, 0],
        stored(10, 101, 103),
        ["ack", 10, 101, 1],
    ),
    case(
        "an empty archive that the board has been acknowledged by",
        ["live", [[10, 101, 120]], 7, 0, True, [[10, 1, 100]]],
        ["ack", 10, 100, 0],
    ),
    case(
        "dropped by the board",
        ["live", [[10, 1, 10]], 0, 0, False, []],
        stored(10, 1, 2, 7, 8),
        ["live", [[10, 7, 10]], 4, 0, True, []],
        ["ack", 10, 8, 0],
    ),
    case(
        "lost after acknowledgement",
        ["live", [[10, 1, 10]], 0, 0, False, []],
        stored(10, 1, 2),
        ["live", [[10, 6, 10]], 0, 0, True, [[10, 3, 5]]],
        ["ack", 10, 5, 0],
    ),
    case(
        "drops cover a part, the oldest first",
        ["live", [[10, 1, 10]], 5, 0, False, []],
        stored(10, 1),
        ["live", [[10, 6, 10]], 7, 0, True, [[10, 4, 5]]],
        ["ack", 10, 5, 0],
    ),
    case(
        "drops before first contact cover nothing later",
        ["live", [[10, 1, 3]], 1000, 0, False, []],
        ["live", [[10, 3, 3]], 1000, 0, True, [[10, 1, 2]]],
    ),
    case(
        "a frame that was given up arrives after all",
        ["live", [[10, 1, 5]], 0, 0, False, []],
        ["live", [[10, 5, 5]], 4, 0, True, []],
        ["ack", 10, 4, 0],
        ["frame", 10, 2, "late", "store"],
        ["commit"],
        ["frame", 10, 2, "late", "again"],
        ["ack", 10, 4, 0],
    ),
    case(
        "what is on its way is not given up",
        ["live", [[10, 1, 5]], 0, 0, False, []],
        ["frame", 10, 2, "t2", "store"],
        ["live", [[10, 4, 5]], 2, 0, True, []],
        ["ack", 10, 1, 0b1],
        ["commit"],
        ["ack", 10, 3, 0],
    ),
    case(
        "the board keeps what was thought lost",
        ["live", [[10, 1, 9]], 0, 0, False, []],
        ["live", [[10, 6, 9]], 0, 0, True, [[10, 1, 5]]],
        ["ack", 10, 5, 0],
        ["live", [[10, 3, 9]], 0, 0, True, []],
        ["ack", 10, 2, 0],
    ),
    case(
        "a boot that left the spool",
        ["live", [[10, 1, 3]], 0, 0, False, []],
        stored(10, 1, 2, 3),
        ["live", [[10, 1, 3], [11, 1, 2]], 0, 0, True, []],
        ["live", [[11, 1, 2]], 0, 0, True, []],
        ["ack", 10, 3, 0],
    ),
    case(
        "drops of boots that the list had no room for are charged later",
        ["live", [[11, 1, 4]], 0, 0, False, []],
        ["live", [[11, 1, 4]], 3, 2, True, []],
        ["live", [[11, 4, 4]], 3, 0, True, []],
        ["ack", 11, 3, 0],
    ),
    case(
        "a drop between frames that are kept is charged when they have gone",
        ["live", [[11, 1, 4]], 0, 0, False, []],
        ["live", [[11, 1, 4]], 1, 0, True, []],
        stored(11, 1, 2, 4),
        ["live", [[11, 5, 4]], 1, 0, True, []],
        ["ack", 11, 4, 0],
    ),
    case(
        "once nothing is kept, earlier drops cover nothing later",
        ["live", [[11, 1, 2]], 0, 0, False, []],
        stored(11, 1, 2),
        ["live", [[11, 3, 2]], 1, 0, True, []],
        ["live", [[11, 4, 3]], 1, 0, True, [[11, 3, 3]]],
    ),
    case(
        "erased: acknowledged again, not stored",
        stored(10, 1, 2, 3),
        ["erase", 10, 1, 2],
        ["ack", 10, 3, 0],
        ["frame", 10, 2, "t2", "erased"],
        ["ack", 10, 3, 0],
    ),
    case(
        "65,536 ahead is the last that is taken",
        stored(10, 1),
        ["frame", 10, 65_538, "x", "too far"],
        ["frame", 10, 65_537, "x", "store"],
        ["commit"],
        ["frame", 10, 131_073, "x", "store"],
        ["ack", 10, 1, 0],
    ),
    case(
        "one range too many",
        stored(10, *range(2, 2 + 2 * 1023, 2)),
        ["frame", 10, 5000, "x", "too scattered"],
        ["frame", 10, 3, "x", "store"],
        ["frame", 10, 2047, "x", "store"],
        ["commit"],
        ["frame", 10, 5000, "x", "store"],
    ),
]
