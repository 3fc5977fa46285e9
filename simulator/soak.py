"""Swarm testing: random seeds over all scenarios, on all cores, resumable."""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from simulator.scenario import ScenarioError, find, is_rare, load, names, shortest_hours
from simulator.simulation import RunOptions, simulate

CORPUS = Path(__file__).parent / "scenarios" / "corpus.txt"
FULL_TURN = 8
RARE_ROUND = 6
PRINT_EVERY_S = 10.0
FAILED_PRINT_MAX = 20


class StateError(ValueError):
    """The file of an earlier soak cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Job:
    """One run of the swarm."""

    scenario: str
    seed: int
    hours: float | None = None
    """Virtual hours; None for as many as the scenario says."""

    @property
    def again(self) -> str:
        """The command that repeats this run."""
        hours = "" if self.hours is None else f" --hours {self.hours:g}"
        return f"osn-simulator run {self.scenario} --seed {self.seed}{hours}"


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    job: Job
    hours: float
    unaccounted: int
    finding: str


def wheel_of(scenarios: list[str]) -> list[str]:
    """The scenarios in the order in which seeds run them: rare ones in one round of six."""
    usual = [name for name in scenarios if not is_rare(name)]
    return scenarios + usual * (RARE_ROUND - 1)


def job_of(seed: int, wheel: list[str]) -> Job:
    """What a seed of the swarm runs.

    One turn of the wheel in eight is as long as the scenarios' seeds say, the others take the
    fewest hours that a scenario allows: more seeds find more than longer ones do.
    """
    turn, number = divmod(seed, len(wheel))
    name = wheel[number]
    return Job(name, seed, None if turn % FULL_TURN == 0 else shortest_hours(name))


def drawn(name: str, seed: int) -> Any:
    """A scenario with the numbers that belong to a seed."""
    return load(find(name), Random(f"{Path(name).stem}/{seed}/draw"))


def perform(job: Job) -> Result:
    """Run one job; what it raises is a finding too."""
    try:
        verdict, report = simulate(
            drawn(job.scenario, job.seed), RunOptions(job.seed, hours=job.hours)
        )
    except Exception as fault:
        return Result(job, 0.0, 1, f"the run raised {type(fault).__name__}: {fault}")
    finding = verdict.findings[0] if verdict.findings else ""
    return Result(job, report["hours"], verdict.unaccounted, finding)


def corpus() -> list[Job]:
    """Runs that once failed and must never fail again: SCENARIO SEED [HOURS] on a line."""
    if not CORPUS.exists():
        return []
    lines = (line.split("#")[0].split() for line in CORPUS.read_text("utf-8").splitlines())
    return [
        Job(words[0], int(words[1]), float(words[2]) if len(words) > 2 else None)
        for words in lines
        if len(words) >= 2
    ]


def results(jobs: list[Job], processes: int) -> Iterator[Result]:
    """Run jobs, on several processes where there are several."""
    if processes <= 1:
        yield from map(perform, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(perform, jobs, chunksize=1)


class Progress:
    """Counts, and a file from which a broken-off soak goes on."""

    def __init__(self, state: Path | None) -> None:
        self.seeds = 0
        self.hours = 0.0
        self.unaccounted = 0
        self.failures: list[str] = []
        self.done: set[int] = set()
        self._state = state
        if state is not None and state.exists():
            try:
                self._resume(json.loads(state.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StateError(
                    f"{state} is not the state of a soak: remove it ({error})"
                ) from None

    def _resume(self, kept: dict[str, Any]) -> None:
        self.seeds = int(kept["seeds_run"])
        self.hours = float(kept["seed_virtual_hours"])
        self.unaccounted = int(kept["unaccounted"])
        self.failures = list(kept["failures"])
        self.done = set(kept["done"])
        print(f"{self._state}: goes on after {self.seeds} seeds; remove it to begin anew")

    def take(self, result: Result) -> None:
        """Count one run."""
        self.seeds += 1
        self.hours += result.hours
        self.unaccounted += result.unaccounted
        self.done.add(result.job.seed)
        if result.unaccounted:
            self.failures.append(result.job.again)
            if len(self.failures) <= FAILED_PRINT_MAX:
                print(f"FAILED  {result.job.again}\n        {result.finding}", flush=True)

    def keep(self) -> None:
        """Write the file."""
        if self._state is not None:
            kept = {**self.summary(), "failures": self.failures, "done": sorted(self.done)}
            self._state.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._state.with_suffix(".new")
            fresh.write_text(json.dumps(kept), encoding="utf-8")
            fresh.replace(self._state)

    def summary(self) -> dict[str, Any]:
        """The last line of a soak."""
        return {
            "seeds_run": self.seeds,
            "seed_virtual_hours": round(self.hours, 1),
            "unaccounted": self.unaccounted,
        }


def soak(
    seeds: int,
    first: int,
    processes: int,
    seconds: float,
    state: Path | None,
    scenarios: list[str],
    stop: bool = False,
    with_corpus: bool = True,
) -> Progress:
    """Run the corpus and then `seeds` seeds, or until `seconds` are over."""
    progress = Progress(state)
    started_s = told_s = time.monotonic()
    jobs = corpus() if with_corpus and not progress.done else []
    wheel = wheel_of(scenarios)
    jobs += [job_of(n, wheel) for n in range(first, first + seeds) if n not in progress.done]
    try:
        for result in results(jobs, processes):
            progress.take(result)
            now_s = time.monotonic()
            if now_s - told_s > PRINT_EVERY_S:
                told_s = now_s
                progress.keep()
                print(f"{now_s - started_s:6.0f} s  {progress.seeds} seeds", flush=True)
            if now_s - started_s > seconds or (stop and progress.unaccounted):
                break
    finally:
        progress.keep()
    return progress


def main() -> int:
    """python -m simulator.soak"""
    parser = argparse.ArgumentParser(prog="python -m simulator.soak")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--state", type=Path, help="go on from here, and keep what is done")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument("--stop", action="store_true", help="end with the first failure")
    parser.add_argument("--no-corpus", action="store_true", help="leave out what once failed")
    given = parser.parse_args()
    try:
        for name in given.scenario or ():
            find(name)
        progress = soak(
            given.seeds, given.first, given.processes, given.seconds, given.state,
            given.scenario or names(), given.stop, not given.no_corpus,
        )  # fmt: skip
    except (ScenarioError, StateError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("broken off; the same command with --state goes on from what was done", flush=True)
        return 130
    print(json.dumps(progress.summary()))
    return 1 if progress.unaccounted else 0


if __name__ == "__main__":
    sys.exit(main())
