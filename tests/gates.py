"""Small gates for tests: interpreted, tiny budgets, small windows."""

from pathlib import Path
from typing import Any

import pytest

import fuzz.alarm
from fuzz.gate.checks import GatePlan, Result, Sizes
from fuzz.gate.run import Gate
from mm.jit import ROOT

# Each canary and the historical bug are caught within 30 cases of such windows.
CANARY_CASES = 32
SMALL = Sizes(mutants=1, mutant_cases=CANARY_CASES, window=16)
ONE_CASE = str(ROOT / "corpus" / "regressions" / "accessed-merged.case")


def small_plan(arch: str = "x86_64", **more: Any) -> GatePlan:
    """A plan that takes a second or two."""
    settings: dict[str, Any] = {
        "target": "batched",
        "corpus": (ONE_CASE,),
        "seconds": None,
        "cases": 20,
        "floor_cases": 1,
        "sizes": SMALL,
        **more,
    }
    return GatePlan(arches=(arch,), kernel="7.3", **settings)


def run_gate(
    monkeypatch: pytest.MonkeyPatch,
    findings: Path,
    plan: GatePlan,
    canary_cases: int = CANARY_CASES,
) -> Result:
    """Run a gate in this process, with few cases per canary; findings go below `findings`."""
    monkeypatch.setattr(fuzz.alarm, "CANARY_CASES", canary_cases)
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(findings))
    return Gate(plan, lambda *_: None).run()
