"""The public strategies: lawful, sane where asked, and shrinking to the dullest picture."""

import os
import subprocess
import sys

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from fuzz.strategies import any_cases, cases
from harness.anatomy import is_present
from harness.case import ARCHES, layout_of
from harness.casefile import format_case
from harness.sane import broken_rules, is_sane
from mm.jit import ROOT

on_each_arch = pytest.mark.parametrize("arch", ARCHES)
QUICK = settings(max_examples=20)
# Explaining a failure takes longer than finding it.
SEARCH = settings(
    max_examples=400,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
)


@on_each_arch
@QUICK
@given(st.data())
def test_cases_are_sane_and_no_longer_than_asked(arch, data):
    case = data.draw(cases(arch, "6.18", max_ptes=18))
    assert case.check() is None
    assert list(broken_rules(case)) == []
    assert (case.arch, case.kernel) == (arch, "6.18")
    assert len(case.ptes) <= (32 if arch == "arm64" else 18)


@on_each_arch
def test_without_sane_there_are_wild_ones(arch):
    seen = []

    @settings(max_examples=60)
    @given(cases(arch, sane=False, max_ptes=4))
    def collect(case):
        assert case.check() is None
        seen.append(is_sane(case))

    collect()
    assert 0 < seen.count(False) < len(seen)


@on_each_arch
def test_the_dullest_case_is_one_small_page(arch):
    case = find(cases(arch), lambda case: True, settings=SEARCH)
    assert len(case.folios) == len(case.ptes) == layout_of(arch).block
    assert all(folio.nr_pages == 1 and not folio.exclusive for folio in case.folios)
    assert not case.hardware
    assert len(format_case(case).splitlines()) < 8 + 2 * layout_of(arch).block


def starts_mid_folio(case) -> bool:
    first = case.ptes[0]
    page = first >> case.config.page_shift & 0xFFFFF
    large = [folio for folio in case.folios if folio.nr_pages > 1]
    return is_present(case.layout, first) and any(
        folio.pfn < page < folio.pfn + folio.nr_pages and folio.exclusive for folio in large
    )


def test_what_a_failure_does_not_need_is_gone():
    """One entry that maps a small folio from its middle on, and a plain mprotect()."""
    case = find(cases(), starts_mid_folio, settings=SEARCH)
    assert len(case.folios) <= 2
    assert all(folio.nr_pages <= 8 for folio in case.folios)
    assert len(case.ptes) == 1
    assert case.call.cp_flags == 0
    assert not case.hardware


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arch": "sparc"}, "unknown arch 'sparc'; known: x86_64"),
        ({"kernel": "5.0"}, "unknown kernel '5.0'; known: 6.12"),
        ({"max_ptes": 0}, "max_ptes must be 1..512, got 0"),
    ],
)
def test_what_is_not_known_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        cases(**options)


@QUICK
@given(any_cases(layout_of("powerpc")))
def test_any_cases_keep_the_rules_of_every_case(case):
    assert case.check() is None


def without(package: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where `package` is not installed."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{package!r}] = None\n{code}"],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_hypothesis_the_import_says_what_to_install():
    done = without("hypothesis", "import fuzz.strategies")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fuzz.strategies needs hypothesis, which is not installed; "
        "pip install -e '.[test]'"
    )


@pytest.mark.parametrize("engine", ["hypothesis", "atheris"])
def test_an_engine_that_is_asked_for_and_absent_is_4_in_one_line(engine):
    code = f"sys.argv = ['midfolio', 'fuzz', '--engine', {engine!r}]\nfrom fuzz.cli import main\nsys.exit(main())"
    done = without(engine, code)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"the {engine} engine needs the package {engine}" in done.stderr
