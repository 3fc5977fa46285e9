"""What each module of the street node takes of the heap, loaded into it or run in place.

python -m benchmarks.firmware_heap
"""

import json
import shutil
import tempfile
from pathlib import Path

from benchmarks.firmware_soak import DEVICE, compile_for_vm, run_on_vm, start_in_place

ROOMY = "2M"
NO_BROKER = json.dumps({"broker_host": "localhost"})


def costs(in_place: bool) -> tuple[dict[str, int], int]:
    """(bytes of the heap by module, all that is in use after the start)."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        compile_for_vm(home / "mpy")
        shutil.copy(DEVICE / "heap_costs.py", home / "mpy")
        script: list[str | Path] = [home / "mpy" / "heap_costs.py"]
        if in_place:
            script = start_in_place(home, "heap_costs")
        lines = run_on_vm(home / "mpy", home, [*script, NO_BROKER, "0", "1"], ROOMY, 60)
    modules = {line["module"]: line["bytes"] for line in lines if "module" in line}
    (total,) = [line["heap_bytes"] for line in lines if "heap_bytes" in line]
    return modules, total


def main() -> None:
    """Print the table, the largest first."""
    loaded, loaded_total = costs(False)
    placed, placed_total = costs(True)
    print("| module | loaded, bytes | in place, bytes |\n|---|---|---|")
    for name in sorted(loaded, key=lambda name: -loaded[name]):
        print(f"| {name} | {loaded[name]} | {placed.get(name, 0)} |")
    rest = loaded_total - sum(loaded.values()), placed_total - sum(placed.values())
    print(f"| objects after the start, and the test itself | {rest[0]} | {rest[1]} |")
    print(f"| in use after the start | {loaded_total} | {placed_total} |")


if __name__ == "__main__":
    main()
