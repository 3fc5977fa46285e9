"""Write the board's quantity.py from the registry: python -m protocol.spec.generate."""

from pathlib import Path

from protocol.registry import EXPERIMENTAL, REGISTRY, REVISION

TARGET = Path(__file__).resolve().parent.parent / "quantity.py"

_HEAD = '''"""Quantities for the board, from the registry by python -m protocol.spec.generate."""

REVISION = {revision}

'''

_TAIL = '''

def exponent(quantity: int) -> int:
    """The registry's power of ten for a quantity; raises KeyError for an unknown one."""
    if quantity >= {experimental}:
        raise KeyError(quantity)
    for power, members in _EXPONENTS:
        if quantity in members:
            return power
    raise KeyError(quantity)
'''


def board_source() -> str:
    """The text of quantity.py."""
    lines = [f"{row.name.upper()} = {row.id}" for row in REGISTRY.values()]
    powers = sorted({row.exponent for row in REGISTRY.values()}, reverse=True)
    groups = []
    for power in powers:
        members = bytes(row.id for row in REGISTRY.values() if row.exponent == power)
        escaped = "".join(f"\\x{byte:02x}" for byte in members)
        groups.append(_group(power, escaped))
    table = "\n_EXPONENTS = (\n" + "\n".join(groups) + "\n)\n"
    return (
        _HEAD.format(revision=REVISION)
        + "\n".join(lines)
        + "\n"
        + table
        + _TAIL.format(experimental=EXPERIMENTAL)
    )


def _group(power: int, escaped: str) -> str:
    step = 4 * 18
    parts = [escaped[at : at + step] for at in range(0, len(escaped), step)]
    if len(parts) == 1:
        return f'    ({power}, b"{parts[0]}"),'
    joined = "\n".join(f'        b"{part}"' for part in parts)
    return f"    (\n        {power},\n{joined},\n    ),"


if __name__ == "__main__":
    TARGET.write_text(board_source(), encoding="utf-8")
