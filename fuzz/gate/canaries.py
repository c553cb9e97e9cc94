"""The first stage: spoiled outcomes and planted bugs, which must be found by all that a gate relies on."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness import zoo
from harness.canaries import canaries_of
from harness.casefile import read_case
from harness.conform import HISTORICAL
from harness.run import judge_case
from harness.targets import load
from mm.version import DEFAULT_VERSION, VERSIONS

from .. import exits
from ..hunter import Hunter
from ..runner import Campaign, Plan
from ..sweep import shares
from ..verdict import verdict
from ..warmup import compile_parts
from .checks import Check, GatePlan
from .environment import environment


def sampled(plan: GatePlan, arch: str) -> list[str]:
    """The mutants that are let loose on `arch`: the historical one, and others that the seed picks."""
    first = HISTORICAL.removeprefix("zoo:")
    others = [
        mutant.name
        for mutant in zoo.all_mutants()
        if mutant.shows and arch in mutant.arches and mutant.name != first
    ]
    count = min(plan.sizes.mutants - 1, len(others))
    return [first, *random.Random(plan.seed).sample(others, count)]


def canary_checks(plan: GatePlan, campaigns: list[Campaign]) -> Iterator[Check]:
    """One check per judge and per mutant of each architecture; makes the campaigns, which run later."""
    for arch, cases in zip(plan.arches, shares(plan.cases, len(plan.arches)), strict=True):
        mutants = sampled(plan, arch)
        compile_parts(arch, plan.target, tuple(mutants))
        campaign = Campaign(_campaign_plan(plan, arch, cases), quiet=True)
        campaigns.append(campaign)
        started = time.perf_counter()
        missed = campaign.missed_canaries()
        canaries = canaries_of(arch)
        each = (time.perf_counter() - started) / (len(canaries) + 1)
        for canary in canaries:
            name = f"{canary.name} ({canary.shows})"
            yield _check(f"{arch} {name}", name not in missed, each)
        for name in mutants:
            started = time.perf_counter()
            good = f"zoo:{name}" not in missed and caught(plan, name, arch)
            yield _check(f"{arch} zoo:{name}", good, time.perf_counter() - started)


def _campaign_plan(plan: GatePlan, arch: str, cases: int | None) -> Plan:
    return Plan(
        arch=arch,
        kernel=plan.kernel,
        target=plan.target,
        seed=plan.seed,
        batching=plan.batching,
        denied=plan.denied,
        cap=plan.cap,
        cases=cases,
        seconds=None if plan.seconds is None else plan.seconds / len(plan.arches),
        jobs=plan.jobs,
        window=plan.sizes.window,
        hang=plan.hang,
        baseline=plan.baseline,
    )


def _check(name: str, good: bool, seconds: float) -> Check:
    words = "caught" if good else "missed: the fuzzer is broken"
    return Check("canaries", name, exits.OK if good else exits.CANARY_MISSED, words, seconds)


def caught(plan: GatePlan, name: str, arch: str) -> bool:
    """Whether a campaign on mutant `name` finds it, from the generator up to file and exit code.

    The finding's file must replay as what it says, and the campaign end with 1.
    """
    kernel = plan.kernel if VERSIONS[plan.kernel].batched else DEFAULT_VERSION
    target = load(f"zoo:{name}", arch)
    cases, window = plan.sizes.mutant_cases, plan.sizes.window
    index = Hunter(target, kernel, plan.seed, cap=1, window=window).hunt(0, cases)
    if index == cases:
        return False
    with _own_findings():
        campaign = Campaign(
            Plan(arch, kernel, target.name, plan.seed, cap=1, cases=index + 1, window=window),
            quiet=True,
        )
        campaign.run()
        if campaign.interrupted:
            raise KeyboardInterrupt
        if campaign.exit_code() != exits.DIVERGENCE or not campaign.paths:
            return False
        recorded = read_case(campaign.paths[-1])
        judgement = judge_case(recorded.case, target)
        code, _ = verdict(judgement, recorded.expect[0])
        return bool(recorded.expect[0].divergence) and code == exits.OK


@contextmanager
def _own_findings() -> Iterator[None]:
    """Let findings of a canary go where nobody takes them for findings."""
    with (
        tempfile.TemporaryDirectory(prefix="midfolio-gate-") as folder,
        environment("MIDFOLIO_FINDINGS", folder),
    ):
        yield
