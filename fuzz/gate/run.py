"""A gate: its stages one after the other, and what stops them."""

import os
import time
from collections.abc import Callable, Iterator

from harness.case import CaseError

from .. import exits
from ..runner import Campaign
from .budget import fuzz_checks
from .canaries import canary_checks
from .checks import STAGES, Check, GatePlan, Result
from .floors import floor_checks
from .lanes import lane_checks
from .recorded import Job, Replays, read_jobs

# Told of each check, and of each stage that is done.
Listener = Callable[[Result, str, Check | None], None]


class Gate:
    """One gate."""

    def __init__(self, plan: GatePlan, tell: Listener) -> None:
        """Read the corpus, so that a bad file is told before anything runs (CaseError)."""
        self.result = Result(plan)
        self.tell = tell
        self.campaigns: list[Campaign] = []
        self.jobs, self.corpus = read_jobs(plan)
        self.replays = Replays(max(plan.jobs, 2))

    def run(self) -> Result:
        """Run all stages; an error of ours becomes a check, so that the reports tell of it."""
        stage = ""
        try:
            for stage in STAGES:
                self._stage(stage)
                if any(c.code == exits.CANARY_MISSED for c in self.result.checks):
                    self.result.stopped = "nothing else was run"
                    break
        except KeyboardInterrupt:
            self.result.stopped = "interrupted"
        except CaseError:
            raise
        except Exception as error:
            if os.environ.get("MIDFOLIO_TRACEBACK"):
                raise
            words = f"{type(error).__name__}: {error} (MIDFOLIO_TRACEBACK=1 shows where)"
            self._add(Check(stage, "internal error", exits.INTERNAL, words))
            self.result.stopped = f"stopped in {stage}"
        finally:
            self.replays.close()
        return self.result

    def _stage(self, stage: str) -> None:
        started = time.perf_counter()
        self.result.seconds[stage] = 0.0
        try:
            for check in self._checks(stage):
                self._add(check)
        finally:
            self.result.seconds[stage] = time.perf_counter() - started
        self.tell(self.result, stage, None)

    def _add(self, check: Check) -> None:
        self.result.checks.append(check)
        self.tell(self.result, check.stage, check)

    def _checks(self, stage: str) -> Iterator[Check]:
        plan = self.result.plan
        if stage == "canaries":
            return canary_checks(plan, self.campaigns)
        if stage == "fuzz":
            return fuzz_checks(self.campaigns)
        if stage == "floors":
            return floor_checks(plan, self.campaigns)
        if stage == "lanes":
            return lane_checks(plan, self.campaigns)
        return self._recorded(stage)

    def _recorded(self, stage: str) -> Iterator[Check]:
        mine: list[Job] = [job for job in self.jobs if job.stage == stage]
        if stage == "corpus" and not self.corpus:
            where = ", ".join(self.result.plan.corpus) or "corpus"
            yield Check(stage, where, exits.TOO_LITTLE, "no case that the target can run")
        yield from self.replays.checks(mine)
