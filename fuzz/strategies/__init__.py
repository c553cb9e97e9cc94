"""Hypothesis strategies for cases: property tests of your own, on the cases of this fuzzer.

`cases`      cases as a kernel meets them, of one architecture and kernel; what they
             shrink to is a picture with few entries, one folio and no odd bit
`any_cases`  cases with any words, flags and folios on one layout that keep
             `Case.check()` and nothing else, for what must bear them all

A property of your own target:

    from hypothesis import given
    from fuzz.strategies import cases
    from harness.differences import red
    from harness.run import judge_case
    from harness.targets import load

    TARGET = load("mine:change_pte_range", "arm64")

    @given(cases("arm64", max_ptes=32))
    def test_agrees(case):
        assert not red(judge_case(case, TARGET))

`midfolio fuzz --engine hypothesis` is this with canaries, a budget and findings.

Needs Hypothesis, which only the extra `test` of this project installs.
"""

try:
    import hypothesis
except ImportError:
    raise ImportError(
        "fuzz.strategies needs hypothesis, which is not installed; pip install -e '.[test]'"
    ) from None

from .drawn import cases
from .lawful import any_cases

__all__ = ["any_cases", "cases"]

del hypothesis
