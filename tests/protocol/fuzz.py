"""Coverage-guided fuzz of everything that reads what a peer sent: python -m tests.protocol.fuzz.

Uses atheris where it is installed, else the seeded mutations. Options: --runs N (a million),
--seconds S (0: no limit), --seed N. Ends with the number of frames and what became of them.
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

from protocol.decoder import decode_body, open_frame
from protocol.explain import explain
from protocol.reading import readings
from protocol.schema import FRAME, ConstructError
from protocol.serial_stream import SerialStream
from protocol.wire import VALUES_MAX, FrameError
from tests.protocol.mutations import corpus, hostile
from tests.protocol.refusals import KEY, sealed

DEEP_EVERY = 50


def one(frame: bytes, deep: bool = False) -> str:
    """Read a frame in every way; its reason, or "accepted". Any other exception is a fault."""
    reason = "accepted"
    for key in (KEY, None):
        try:
            decoded = decode_body(open_frame(frame, key))
        except FrameError as refused:
            if reason == "accepted":
                reason = refused.reason
            continue
        values = sum(len(c.values) for samples in decoded.samples for c in samples.columns)
        if values > VALUES_MAX:
            raise AssertionError(f"{values} values")
        for _ in readings(decoded):
            pass
        reason = "accepted"
        break
    if deep:
        explain(frame, KEY)
        SerialStream().feed(frame)
        with suppress(ConstructError):
            FRAME.parse(frame)
    return reason


def seeded(runs: int, seconds: float, seed: int) -> Counter[str]:
    """The seeded mutations: what became of them."""
    found: Counter[str] = Counter()
    end = time.monotonic() + (seconds or 1e9)
    for index, frame in enumerate(islice(hostile(seed), runs)):
        found[one(frame, index % DEEP_EVERY == 0)] += 1
        if index % 1000 == 0 and time.monotonic() > end:
            break
    return found


def guided(runs: int, seconds: float) -> int:
    """atheris over the whole protocol room; 0 when nothing was found."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    atheris.instrument_all()

    def test(data: bytes) -> None:
        if not data:
            return
        deep = sum(data) % DEEP_EVERY == 0
        one(sealed(data[1:4200], data[0] & 31), deep)
        one(data, deep)

    folder = "build/fuzz"
    seeds(folder)
    arguments = [sys.argv[0], f"-runs={runs}", f"-max_total_time={int(seconds)}", folder]
    atheris.Setup(arguments, test)
    atheris.Fuzz()
    return 0


def seeds(folder: str) -> None:
    """Write the vectors as a first corpus."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index, body in enumerate(corpus()):
        (Path(folder) / f"vector-{index:04}").write_bytes(body)


def main() -> int:
    """Run the fuzz that this machine can."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeded", action="store_true", help="not atheris, even if it is there")
    options = parser.parse_args()
    if not options.seeded:
        try:
            return guided(options.runs, options.seconds)
        except ImportError:
            print("atheris is not installed (it has no wheel for every Python): seeded mutations")
    found = seeded(options.runs, options.seconds, options.seed)
    print(f"{found.total():,} frames: {found['accepted']:,} accepted, the others refused:")
    for reason, count in found.most_common():
        print(f"  {reason:14} {count:9,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
