"""Plant one bug after the other in a copy of the code; the swarm has to find every one."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simulator.planted_bugs import BUGS, CannotPlant, PlantedBug, plant
from simulator.vm import ROOT

ROOMS = ("protocol", "firmware", "collector", "hardware", "simulator")
SEEDS = 24
TIMEOUT_S = 240.0


def hunt(bug: PlantedBug, seeds: int) -> str:
    """Run the swarm against one planted bug; the first finding, "" when none came."""
    with tempfile.TemporaryDirectory(prefix="osn-bug-") as folder:
        root = Path(folder)
        for room in ROOMS:
            ignored = shutil.ignore_patterns("__pycache__", "*.db")
            shutil.copytree(ROOT / room, root / room, ignore=ignored)
        plant(bug, root)
        command = [
            sys.executable, "-m", "simulator.soak", "--processes", "1",
            "--seeds", str(seeds), "--stop",
        ]  # fmt: skip
        if bug.scenario:
            command += ["--scenario", bug.scenario]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}
        try:
            done = subprocess.run(
                command, cwd=root, env=environment, timeout=TIMEOUT_S,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"the swarm came to no end in {TIMEOUT_S:.0f} s"
    return "" if done.returncode == 0 else _first_finding(done.stdout + done.stderr)


def _first_finding(output: str) -> str:
    lines = output.splitlines()
    for number, line in enumerate(lines[:-1]):
        if line.startswith("FAILED"):
            return f"{line.split('run ')[-1]}: {lines[number + 1].strip()}"
    return lines[-1] if lines else "it ended with an error"


def main() -> int:
    """python -m simulator.prove_oracle"""
    parser = argparse.ArgumentParser(prog="python -m simulator.prove_oracle")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many for each bug")
    parser.add_argument("--only", type=int, action="append", help="number of a bug, from 1")
    given = parser.parse_args()
    chosen = [bug for n, bug in enumerate(BUGS, 1) if not given.only or n in given.only]

    def look(bug: PlantedBug) -> tuple[PlantedBug, str]:
        try:
            return bug, hunt(bug, given.seeds)
        except CannotPlant as error:
            print(error, flush=True)
            return bug, ""

    found = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for bug, finding in pool.map(look, chosen):
            found += bool(finding)
            print(f"{'found ' if finding else 'MISSED'}  {bug.name}\n        {finding}", flush=True)
    print(json.dumps({"planted_bugs": len(chosen), "planted_bugs_found": found}))
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
