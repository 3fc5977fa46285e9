"""Plant one bug after the other in a copy of the code; the swarm has to find every one.

A bug is looked for with the scenario that can show it first, then with all of them. The run that
found it must find nothing in the code without the bug. What was found is kept until a file of the
code changes, so that a proof that was broken off goes on.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simulator.planted_bugs import BUGS, CannotPlant, PlantedBug, plant
from simulator.vm import ROOT

ROOMS = ("protocol", "firmware", "collector", "hardware", "simulator")
SEEDS = 24
FIRST_SEEDS = 12
TIMEOUT_S = 300.0
STATE = ROOT / "out" / "prove-oracle.json"


def hunt(bug: PlantedBug, seeds: int, timeout_s: float = TIMEOUT_S) -> str:
    """Run the swarm against one planted bug; the first finding, "" when none came in time."""
    end_s = time.monotonic() + timeout_s
    with tempfile.TemporaryDirectory(prefix="osn-bug-") as folder:
        root = Path(folder)
        for room in ROOMS:
            ignored = shutil.ignore_patterns("__pycache__", "*.db")
            shutil.copytree(ROOT / room, root / room, ignore=ignored)
        plant(bug, root)
        rounds = [["--seeds", str(seeds)]]
        if bug.scenario:
            only = ["--scenario", bug.scenario, "--seeds", str(min(seeds, FIRST_SEEDS))]
            rounds.insert(0, only)
        for arguments in rounds:
            finding = _swarm(root, arguments, end_s - time.monotonic())
            if finding:
                return finding if _is_the_bugs(finding) else ""
    return ""


def _is_the_bugs(finding: str) -> bool:
    """Whether the same run finds nothing in the code as it is."""
    repeat = finding.split(":")[0].split()
    done = _run(ROOT, ["simulator", "run", *repeat], TIMEOUT_S)
    if done is not None and done.returncode:
        print(f"without any planted bug too: {finding.split(':')[0]}", flush=True)
    return done is not None and done.returncode == 0


def _swarm(root: Path, arguments: list[str], timeout_s: float) -> str:
    swarm = ["simulator.soak", "--processes", "1", "--no-corpus", "--stop"]
    done = _run(root, [*swarm, *arguments], timeout_s)
    if done is None or done.returncode == 0:
        return ""
    return _first_finding(done.stdout + done.stderr)


def _run(
    root: Path, arguments: list[str], timeout_s: float
) -> subprocess.CompletedProcess[str] | None:
    """Run a module with the code below root; None when it takes too long."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}
    try:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=root, env=environment, timeout=max(0.0, timeout_s),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


def _first_finding(output: str) -> str:
    """What the oracle said. Raises RuntimeError when the swarm did not even run."""
    lines = output.splitlines()
    for number, line in enumerate(lines[:-1]):
        if line.startswith("FAILED"):
            return f"{line.split('run ')[-1]}: {lines[number + 1].strip()}"
    raise RuntimeError("the swarm did not run: " + (lines[-1] if lines else "no output"))


class Found:
    """What was found with the code as it stands; kept in a file when one is given."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._code = _digest()
        self._found: dict[str, str] = {}
        if file is not None and file.exists():
            try:
                kept = json.loads(file.read_text(encoding="utf-8"))
                self._found = dict(kept["found"]) if kept["code"] == self._code else {}
            except (ValueError, KeyError, TypeError):
                print(f"{file} cannot be read and is begun anew", flush=True)

    def get(self, bug: PlantedBug) -> str:
        """The finding of an earlier run; "" without one."""
        return self._found.get(bug.name, "")

    def put(self, bug: PlantedBug, finding: str) -> None:
        """Keep a finding."""
        self._found[bug.name] = finding
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            text = json.dumps({"code": self._code, "found": self._found}, indent=1)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._file)


def _digest() -> str:
    """Changes with every file of the code and the scenarios."""
    total = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".toml", ".json"):
                total.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return total.hexdigest()


def main() -> int:
    """python -m simulator.prove_oracle"""
    parser = argparse.ArgumentParser(prog="python -m simulator.prove_oracle")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many for each bug")
    parser.add_argument("--only", type=int, action="append", help="number of a bug, from 1")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=STATE, help="go on from here")
    parser.add_argument("--anew", action="store_true", help="look for every bug again")
    given = parser.parse_args()
    for number in given.only or ():
        if not 1 <= number <= len(BUGS):
            parser.error(f"--only {number}: there are bugs 1 to {len(BUGS)}")
    chosen = [bug for n, bug in enumerate(BUGS, 1) if not given.only or n in given.only]
    if given.anew:
        given.state.unlink(missing_ok=True)
    known = Found(given.state)

    def look(bug: PlantedBug) -> tuple[PlantedBug, str, float]:
        started_s = time.monotonic()
        finding = known.get(bug)
        if not finding:
            try:
                finding = hunt(bug, given.seeds)
            except (CannotPlant, RuntimeError) as error:
                print(f"{bug.name}: {error}", flush=True)
        return bug, finding, time.monotonic() - started_s

    found = 0
    with ThreadPoolExecutor(max(1, given.processes)) as pool:
        for bug, finding, seconds in pool.map(look, chosen):
            found += bool(finding)
            if finding:
                known.put(bug, finding)
            word = "found " if finding else "MISSED"
            print(f"{word} {seconds:4.0f} s  {bug.name}\n        {finding}", flush=True)
    print(json.dumps({"planted_bugs": len(chosen), "planted_bugs_found": found}))
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
