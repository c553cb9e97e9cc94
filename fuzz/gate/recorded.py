"""Cases of the corpus, run again: regressions, all others, witnesses, and what is recorded of other targets.

They run interpreted, in processes of their own where the gate itself is compiled:
dozens of mutants, each of which would take a minute to compile, are run on a few
cases each. Each case is run twice, and the two must not differ.
"""

import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from harness import zoo
from harness.case import Case, CaseError
from harness.casefile import Expect
from harness.differences import primary, red
from harness.findings import replay_lines
from harness.kernels import check_kernel
from harness.relation import EXACT, NONE
from harness.render import finding, plain
from harness.run import judge_case
from harness.targets import isolated, load
from mm.jit import COMPILED, ROOT

from .. import exits
from ..sources import Source, sources
from ..verdict import WITNESSES, recorded, verdict, witnessed
from .checks import Check, GatePlan
from .environment import environment

CORPUS = ROOT / "corpus"


class Job(NamedTuple):
    """One case on one target."""

    stage: str
    source: Source
    target: str
    expect: Expect | None
    shows: str
    batching: int
    denied: int
    baseline: str


def shown(path: Path) -> str:
    """`path` as a user would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def read_jobs(plan: GatePlan) -> tuple[list[Job], bool]:
    """What is to be run, and whether any of it comes from the corpus that was asked for.

    Our own witnesses are run whatever was asked for. Raises CaseError for a case
    that cannot be read.
    """
    words = plan.corpus or (shown(CORPUS),)
    given = list(sources(words))
    jobs = list(jobs_of(plan, given))
    names = {Path(source.name).resolve() for source in given}
    witnesses = sources((shown(CORPUS / WITNESSES),))
    ours = jobs_of(plan, (w for w in witnesses if Path(w.name).resolve() not in names))
    return jobs + [job for job in ours if job.stage == WITNESSES], bool(jobs)


def jobs_of(plan: GatePlan, cases: Iterable[Source]) -> Iterator[Job]:
    """What is to be run of `cases`, those of other architectures left out."""
    for source in cases:
        shows = witnessed(source)
        if source.case.arch not in plan.arches:
            continue
        for expect in source.expect:
            if expect.target in ("", plan.target) or not (expect.divergence or shows):
                continue
            stage = "expectations" if expect.divergence else "witnesses"
            legal = NONE if expect.target == "reference" else EXACT
            yield Job(stage, source, expect.target, expect, shows, legal, 0, "")
        if not models(plan.target, source.case):
            continue
        expect_here = recorded(source, plan.target)
        if shows and expect_here is not None:
            # A class that is denied is still to be shown.
            yield Job("witnesses", source, plan.target, expect_here, shows, plan.batching, 0, "")
            continue
        stage = "regressions" if Path(source.name).parent.name == "regressions" else "corpus"
        yield Job(
            *(stage, source, plan.target, expect_here, ""),
            *(plan.batching, plan.denied, plan.baseline),
        )


def models(target: str, case: Case) -> bool:
    """Whether `target` is of the architecture and the kernel of `case`."""
    if target.startswith("zoo:") and case.arch not in zoo.find(target.removeprefix("zoo:")).arches:
        return False
    try:
        check_kernel(target, case.kernel)
    except CaseError:
        return False
    return True


def run_job(job: Job) -> Check:
    """Run one case on one target, twice."""
    started = time.perf_counter()
    case = job.source.case
    target = isolated(load(job.target, case.arch), job.expect.divergence if job.expect else "")
    judgement = judge_case(case, target, job.batching)
    again = judge_case(case, target, job.batching)
    code, words = verdict(judgement, job.expect, job.denied, job.shows)
    found = red(judgement, job.denied)
    if code == exits.DIVERGENCE and job.baseline and models(job.baseline, case):
        known = red(judge_case(case, load(job.baseline, case.arch), job.batching), job.denied)
        found &= ~known
        if not found:
            code, words = exits.OK, f"diverges as {job.baseline} does"
    if (again.theirs, again.union) != (judgement.theirs, judgement.union):
        code, words = exits.FLAKY, "two runs differ"
    drawing: tuple[str, ...] = ()
    replay: tuple[str, ...] = ()
    path = Path(job.source.name) if not job.source.name.startswith("case ") else None
    if path is not None and not path.exists():
        path = None  # a number
    if code in (exits.DIVERGENCE, exits.FLAKY):
        drawing = tuple(plain(finding(judgement, job.denied)).splitlines())
        replay = tuple(replay_lines(case, job.target, path))
    return Check(
        stage=job.stage,
        name=f"{job.source.name} on {job.target}",
        code=code,
        words=words,
        seconds=time.perf_counter() - started,
        divergence=primary(found) if code == exits.DIVERGENCE and found else "",
        path="" if path is None else str(path),
        line=_line(path, job.target) if path is not None and code != exits.OK else 1,
        drawing=drawing,
        replay=replay,
    )


def _line(path: Path, target: str) -> int:
    """The line of `path` that says what is expected of `target`, else its first."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("expect:") and line.endswith(f"target={target}"):
            return number
    return 1


class Replays:
    """The processes that run jobs, started by the first one; none where the gate is interpreted itself."""

    def __init__(self, processes: int) -> None:
        """So many processes, once there is something to run."""
        self.processes = processes
        self.pool: ProcessPoolExecutor | None = None

    def checks(self, jobs: list[Job]) -> Iterator[Check]:
        """The check of each job, in order."""
        if not COMPILED:
            yield from map(run_job, jobs)
            return
        if not jobs:
            return
        if self.pool is None:
            context = get_context("spawn")
            self.pool = ProcessPoolExecutor(self.processes, context, initializer=_leave_interrupts)
        # The first jobs that are handed over start all processes.
        with environment("MIDFOLIO_MODE", "interpreted"):
            results = self.pool.map(run_job, jobs, chunksize=4)
        yield from results

    def close(self) -> None:
        """End the processes; what they have not begun is not run."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
