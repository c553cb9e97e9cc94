"""Campaigns that atheris guides by the coverage of both sides, the relation and the target.

The fuzz target (`fuzz.atheris_target`) runs in processes of its own; this one starts
them, adds up what they count, and looks at what they leave. A process ends with its
first finding. The finding is judged again here, without instrumentation, and another
process goes on, to which a class that has had its share is known.

The corpus is kept in the work directory, for each target, kernel and architecture, and
the next campaign goes on from it.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import classes
from harness.case import Case, CaseError
from harness.census import CASES, empty_tally
from harness.conform import HISTORICAL
from harness.contain import die_with_parent
from harness.differences import primary, red
from harness.run import judge_case, judge_lost, prepare
from harness.zoo import Mutant
from mm.jit import ROOT

from ..chunks import Chunk
from ..hunter import Found
from ..runner import Campaign, Plan
from ..stages import Run, run_of
from ..store.journal import Journal
from .again import OPTIONS, inputs_in
from .judged import Alarm
from .places import place_of
from .raw_input import Input, read, size_of
from .raw_mutator import MAX_WORDS, mutate

# The canaries are due within so many cases; so is the historical bug, through atheris.
CANARY_CASES = 1_500
# What libFuzzer ends with.
DONE, CRASH, TIMEOUT, INTERRUPTED = 0, 77, 70, 72
LINES_SHOWN = 3


class Lane:
    """One process of the fuzz target, from its start to its end."""

    def __init__(
        self,
        plan: Plan,
        place: Path,
        known: list[str],
        seed: int,
        runs: int,
        seconds: float | None,
        *,
        staged: bool = False,
    ) -> None:
        """Start it: at most `runs` inputs and `seconds`; classes that are `known` are not raised.

        `staged`: a mutant counts its stages (fuzz.stages), too.
        """
        self.artefacts = Path(tempfile.mkdtemp(dir=_made(place / "artefacts")))
        self.log = (self.artefacts / "log").open("w+", errors="replace")
        options = {
            "target": plan.target,
            "arch": plan.arch,
            "kernel": plan.kernel,
            "batching": plan.batching,
            "deny": classes.names(plan.denied),
            "known": known,
            "counts": str(self.artefacts),
            "staged": staged,
        }
        command = [
            *(sys.executable, "-P", "-m", "fuzz.atheris_target"),
            f"-runs={runs}",
            f"-seed={seed % 0xFFFF_FFFF + 1}",
            f"-max_len={size_of(MAX_WORDS)}",
            # Interpreted, a case takes a hundred times as long as compiled.
            f"-timeout={max(math.ceil(plan.hang), 1)}",
            f"-artifact_prefix={self.artefacts}/",
            str(_made(place / "corpus")),
        ]
        if seconds is not None:
            command.insert(-1, f"-max_total_time={max(math.ceil(seconds), 1)}")
        paths = [str(ROOT), os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            command,
            env={
                **os.environ,
                OPTIONS: json.dumps(options),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            stdout=self.log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for this process, which ends the other.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        self.counted = _nothing()

    def taken(self) -> tuple[Any, Any]:
        """Tally and counts by class since the last call."""
        now = _nothing()
        for path in self.artefacts.glob("*.counts"):
            counts = np.fromfile(path, np.int64)
            if len(counts) == len(now):
                now += counts
        new, self.counted = now - self.counted, now
        return new[: -classes.NR_CLASSES], new[-classes.NR_CLASSES :]

    def inputs(self) -> list[Path]:
        """The inputs that it ended with."""
        return sorted(p for kind in ("crash-*", "timeout-*") for p in self.artefacts.glob(kind))

    def end(self) -> None:
        """End it, if it has not."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """The last of what it printed, in one line."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        return "; ".join(lines[-LINES_SHOWN:]) or "it said nothing"

    def clear(self) -> None:
        """Remove its directory; an input that it ended with is a finding by now."""
        self.log.close()
        for path in self.artefacts.iterdir():
            path.unlink()
        self.artefacts.rmdir()


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(f"{folder}: {error.strerror}; expected a directory to write to") from None
    return folder


def _nothing() -> Any:
    return np.zeros(len(empty_tally()) + classes.NR_CLASSES, np.int64)


class AtherisCampaign(Campaign):
    """One campaign that atheris guides."""

    def __init__(self, plan: Plan, *, quiet: bool, journal: Journal | None = None) -> None:
        """As any campaign."""
        super().__init__(plan, quiet=quiet, journal=journal)
        self.place = place_of("atheris", plan, journal)
        self.ran = self.before  # cases of earlier runs too
        kept = {kept.name for kept in self.standing.kept}
        self.closed = {name for name in kept if self.standing.kept_of(name) >= plan.cap}
        self.starts = 0

    # Canaries.

    def missed_canaries(self) -> list[str]:
        """The canaries that no mutated input shows, and the historical bug if atheris misses it."""
        began = time.perf_counter()
        alarm, rng = Alarm(self.plan.arch), random.Random(1)
        what = Input(self.plan.arch, self.plan.kernel)
        for _ in range(CANARY_CASES):
            what = mutate(what, rng)
            alarm.hear(what.case())
            if not alarm.missed():
                break
        missed = alarm.missed()
        if not missed and not self._finds_historical():
            missed.append(f"{HISTORICAL} (by atheris)")
        took = time.perf_counter() - began
        self.canary_line = (
            f"canaries: {alarm.total + 1} of {alarm.total + 1} caught in {took:.2f} s"
        )
        return missed

    def _finds_historical(self) -> bool:
        """Whether a process of the target ends with an input that shows the historical bug."""
        plan = Plan(self.plan.arch, self.plan.kernel, HISTORICAL, seed=1)
        with tempfile.TemporaryDirectory() as place:
            lane = Lane(plan, Path(place), [], 1, CANARY_CASES, None)
            lane.process.wait()
            try:
                target = plan.hunter().target
                return lane.process.returncode == CRASH and any(
                    red(judge_case(read(path), target)) for path in lane.inputs()
                )
            finally:
                lane.clear()

    # The campaign itself.

    def _chunks(self, started: float) -> Iterator[Chunk]:
        lanes = [] if self._is_enough(started) else [self._start(started)]
        lanes += [self._start(started) for _ in lanes[:1] * (self.plan.jobs - 1)]
        try:
            while lanes:
                time.sleep(0.1)
                for lane in list(lanes):
                    by_itself = lane.process.poll() is not None
                    if not by_itself and not self.interrupted and not self._is_over(started):
                        yield self._taken(lane, [])
                        continue
                    lane.end()
                    found = self._ended(lane) if by_itself else []
                    chunk = self._taken(lane, found)
                    lane.clear()
                    lanes.remove(lane)
                    yield chunk
                    if found and not self._is_enough(started):
                        lanes.append(self._start(started))
        finally:
            for lane in lanes:
                lane.end()
        kept = inputs_in(self.place / "corpus")
        if self.ran and not kept:
            raise RuntimeError("atheris kept no input: it covers nothing")

    def _seconds(self, started: float) -> float | None:
        """What is left of the time; None without a limit."""
        if self.plan.seconds is None:
            return None
        return max(self.plan.seconds - (time.perf_counter() - started), 0.0)

    def _is_enough(self, started: float) -> bool:
        spent = self.plan.cases is not None and self.ran >= self.plan.cases
        return self.interrupted or spent or self._is_over(started)

    def _start(self, started: float) -> Lane:
        self.starts += 1
        runs = -1
        if self.plan.cases is not None:
            runs = max((self.plan.cases - self.ran) // self.plan.jobs, 1)
        return Lane(
            self.plan,
            self.place,
            sorted(self.closed),
            # Another run is no repetition of the last.
            self.plan.seed * 1_000_003 + self.ran + self.starts,
            runs,
            self._seconds(started),
        )

    def _taken(self, lane: Lane, found: list[Found]) -> Chunk:
        tally, seen = lane.taken()
        first, self.ran = self.ran, self.ran + int(tally[CASES])
        return Chunk(first, self.ran, tally, seen, found)

    def _ended(self, lane: Lane) -> list[Found]:
        """What a process that ended found; RuntimeError for an end that is no end of ours."""
        code = lane.process.returncode
        if code == DONE or code == INTERRUPTED:
            return []
        if code not in (CRASH, TIMEOUT) or not lane.inputs():
            raise RuntimeError(f"atheris ended with exit code {code}: {lane.said()}")
        found = []
        for path in lane.inputs():
            case = self._case_of(path)
            if path.name.startswith("timeout-"):
                found.append(self._hung(case))
                self.closed.add("target-hang")
                continue
            judgement = judge_case(case, self.hunter.target, self.plan.batching)
            bits = red(judgement, self.plan.denied)
            found.append(Found(None, judgement))
            name = primary(bits) if bits else ""
            # `_keep` counts it later.
            if name and self.standing.kept_of(name) + 1 >= self.plan.cap:
                self.closed.add(name)
        return found

    def _case_of(self, path: Path) -> Case:
        """The case of an artefact; what is no input stands for the dullest case."""
        try:
            return read(path)
        except CaseError:
            return Input(self.plan.arch, self.plan.kernel).case()

    def _hung(self, case: Case) -> Found:
        _, ours = prepare(case)
        how = f"it did not return within {self.plan.hang:g} s"
        return Found(None, judge_lost(case, self.plan.target, ours, "target-hang", (how,)))


def first_finding(mutant: Mutant, arch: str, kernel: str, seed: int, limit: int) -> Run:
    """What atheris takes to find `mutant`, from an empty corpus, in up to `limit` cases."""
    plan = Plan(arch, kernel, f"zoo:{mutant.name}", seed)
    with tempfile.TemporaryDirectory() as place:
        lane = Lane(plan, Path(place), [], seed, limit, None, staged=True)
        try:
            code = lane.process.wait()
            if code not in (DONE, CRASH):
                raise RuntimeError(f"atheris ended with exit code {code}: {lane.said()}")
            tally, _ = lane.taken()
            (counts,) = (np.fromfile(path, np.int64) for path in lane.artefacts.glob("*.stages"))
            return run_of(tally, counts, found=code == CRASH)
        finally:
            lane.end()
            lane.clear()


CAMPAIGN = AtherisCampaign
