"""`midfolio exhaust`: the numbering, the symmetries, the certificate, and that it goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import exits
from fuzz.exhaust import symmetries
from fuzz.exhaust.alphabet import FIRST_PFN, FOLIO_PAGES, MAX_K, Call, Fixed, Kind, Place, Right
from fuzz.exhaust.certificate import left_out, lines, to_json
from fuzz.exhaust.runner import Exhaust, Plan
from fuzz.exhaust.scope import Runner, Scope
from fuzz.exhaust.symmetries import canonical_calls, canonical_states, raw_calls, raw_states
from fuzz.hunter import RED
from harness import classes, findings
from harness.case import ARCHES, CaseError
from harness.casefile import format_case, parse_case
from harness.relation import EXACT
from harness.run import run
from harness.sane import is_sane
from harness.targets import load
from tests import exhaust_pairs
from tests.test_cli import midfolio

HISTORICAL = "zoo:first-page-is-folio-head"
SMALL = ("resolve-try",)


def runner(k: int, *, raw: bool, asks: tuple[str, ...], arch: str = "x86_64") -> Runner:
    scope = Scope(arch, "7.3", k, raw, asks)
    return Runner(scope, load("batched", arch), RED, EXACT)


def plan(work: Path, **more: object) -> Plan:
    settings: dict[str, object] = {"arch": "x86_64", "target": "batched", "k": 1, "asks": SMALL}
    return Plan(kernel="7.3", work=work, **{**settings, **more})  # type: ignore[arg-type]


# Numbers and alphabet.


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_number_is_a_case_and_back(k: int, raw: bool, arch: str) -> None:
    scope = Scope(arch, "7.3", k, raw)
    edges = [n for b in scope.blocks for n in (b.base, b.base + b.size - 1)]
    for number in (*range(0, scope.total, scope.total // 500 + 1), *edges):
        assert scope.number(*scope.locate(number)) == number
    with pytest.raises(CaseError, match="no case"):
        scope.locate(scope.total)


def test_chunks_are_all_numbers_once() -> None:
    scope = Scope("x86_64", "7.3", 2, raw=False)
    at = 0
    for first, last in scope.chunks(1000):
        assert first == at < last
        assert scope.locate(first)[0] is scope.locate(last - 1)[0]
        at = last
    assert at == scope.total


def test_scope_is_as_large_as_promised() -> None:
    calls = raw_calls("x86_64")
    assert {len(set(raw_states(call))) for call in calls} == {len(raw_states(calls[0]))} == {130}
    assert len(calls) == 176
    assert len(canonical_calls("x86_64")) >= 73
    assert max(len(canonical_states(call)) for call in canonical_calls("x86_64")) >= 66
    assert {state.kind for state in raw_states(calls[0])} == set(Kind)


@pytest.mark.parametrize("arch", ARCHES)
def test_states_are_different_cases_that_can_be_written_down(arch: str) -> None:
    one = runner(1, raw=True, asks=("try",), arch=arch)
    cases = [one.case(number) for number in range(one.scope.total)]
    assert len(set(cases)) == len(cases)
    for case in cases[::37]:
        case.check()
        assert parse_case(format_case(case), "x").case == case


def test_what_an_architecture_lacks_is_not_enumerated() -> None:
    assert {state.kind for state in raw_states(raw_calls("powerpc")[0])} == (
        set(Kind) - {Kind.MARKER_UFFD_WP}
    )
    for arch, without in (("powerpc", "registered"), ("arm64", "tracked")):
        assert not any(getattr(call, without) for call in raw_calls(arch))
    states = {state for call in raw_calls("arm64") for state in raw_states(call)}
    assert not any(state.soft_dirty for state in states)
    states = {state for call in raw_calls("powerpc") for state in raw_states(call)}
    assert not any(state.right is Right.UFFD for state in states)
    assert {call.ask for call in raw_calls("powerpc")} == {
        *("none", "read", "write", "try", "try-exec", "numa")
    }
    sizes = {arch: {len(raw_states(call)) for call in raw_calls(arch)} for arch in ARCHES}
    assert sizes == {"x86_64": {130}, "arm64": {8, 73}, "powerpc": {85}}
    assert [len(raw_calls(arch)) for arch in ("arm64", "powerpc")] == [352, 48]


@pytest.mark.parametrize("k", range(1, MAX_K + 1))
@pytest.mark.parametrize("place", Place)
def test_a_block_is_where_its_place_says(k: int, place: Place) -> None:
    fixed = Fixed(Call("try", False, False, False, place, "arm64"), k)
    inside = [fixed.start + i for i in range(k)]
    pages = [fixed.pfn(i) - FIRST_PFN for i in range(k)]
    assert fixed.nr_ptes == FOLIO_PAGES
    assert (inside == pages) == (place is not Place.BORDER)
    whole = sorted(inside + fixed.outside) == list(range(FOLIO_PAGES))
    assert whole == (place.others is not None)


def test_blocks_are_unfolded_and_folded() -> None:
    """By a call on a part of one, and by one that makes the last entries like the others."""
    one = runner(1, raw=True, asks=("read", "try"), arch="arm64")
    folds, cuts = set(), set()
    for number in range(one.scope.total):
        block, _ = one.scope.locate(number)
        case = one.case(number)
        case.check()
        after = run(case, load("reference", "arm64").function)
        kinds = {kind for _, _, kind in after.invalidations}
        folds |= {block.call.place} if "fold" in kinds else set()
        cuts |= {block.call.place} if "unfold" in kinds else set()
    assert folds == {Place.LAST_READ, Place.LAST_WRITE, Place.LAST_UFFD}
    assert cuts == {place for place in Place if place.folded}


@pytest.mark.parametrize("k", range(1, MAX_K + 1))
@pytest.mark.parametrize("place", [place for place in Place if not place.folded])
def test_astray_is_in_the_folio_and_never_due(k: int, place: Place) -> None:
    fixed = Fixed(Call("try", False, False, False, place, "arm64"), k)
    due = [fixed.pfn(i) for i in range(-1, k + 1)]
    astray = [fixed.pfn(i, Kind.ASTRAY) for i in range(k)]
    assert astray == list(range(astray[0], astray[0] + k))
    assert not set(astray) & set(due)
    assert {pfn // FOLIO_PAGES for pfn in astray} == {FIRST_PFN // FOLIO_PAGES}


def test_a_kernel_is_asked_for_what_it_has() -> None:
    old, new = (Scope("x86_64", kernel, 1, raw=True) for kernel in ("6.18", "7.3"))
    assert set(new.asks) - set(old.asks) == {"rwp", "rwp-resolve-try"}
    assert {block.call.ask for block in old.blocks} == set(old.asks)
    with pytest.raises(CaseError, match="unknown flags 'rwp'; expected some of none"):
        Scope("x86_64", "6.18", 1, raw=True, asks=("rwp",))


@pytest.mark.parametrize(("arch", "step"), [("x86_64", 7919), ("arm64", 2999), ("powerpc", 997)])
def test_the_loop_knows_which_cases_are_sane(arch: str, step: int) -> None:
    two = runner(2, raw=True, asks=("write", "numa", "try"), arch=arch)
    seen = set()
    for number in range(0, two.scope.total, step):
        block, states = two.scope.locate(number)
        case = two.case(number)
        sane = all(two.tables[2][block.states.index(state)] for state in states)
        assert sane == is_sane(case), (str(block.call), *map(str, states))
        seen.add(sane)
    assert seen == {False, True}


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_symmetries_account_for_every_raw_case(k: int, arch: str) -> None:
    scope = Scope(arch, "7.3", k, raw=False)
    canonical = sum(len(canonical_states(call)) ** k for call in canonical_calls(arch))
    raw = Scope(arch, "7.3", k, raw=True).total
    saved = left_out(scope)
    assert raw - sum(cases for _, cases in saved) == canonical
    # arm64 does not track soft-dirtiness.
    assert {name for name, cases in saved if not cases} <= {"tracking-is-unread"}
    # The same from the other side: what each canonical case stands for.
    standing = sum(block.weight * sum(block.weights) ** block.k for block in scope.blocks)
    assert standing == raw


# Symmetries keep verdicts.

# The mutant reads exclusive bits of other pages, mapped or not, and is told from `batched` by
# what stands alone: it can only show what has to do with neither. Steps are prime, so that they
# wander over all states. test_compiled_runs_agree looks at every case, but of all symmetries
# together.
PAIRS = [
    (symmetries.tracking_is_unread, "batched", 997),
    (symmetries.tracking_is_unread, HISTORICAL, 997),
    (symmetries.exclusive_is_unread, "batched", 997),
    (symmetries.exclusive_is_unread, HISTORICAL, 997),
    (symmetries.unmapped_is_unread, "batched", 97),
    (symmetries.lone_is_lone, "batched", 1_999),
]
PAIR_ASKS = ("read", "resolve-try", "wp")


@pytest.mark.parametrize(("symmetry", "target", "step"), PAIRS)
def test_a_symmetry_keeps_the_verdict(
    symmetry: Callable[..., object], target: str, step: int
) -> None:
    pairs, differ = exhaust_pairs.compare(symmetry, target, step, PAIR_ASKS)
    assert pairs >= 100
    assert differ == 0


@pytest.mark.parametrize(
    ("symmetry", "step"),
    [
        (symmetries.exclusive_is_unread, 397),
        (symmetries.unmapped_is_unread, 29),
        (symmetries.lone_is_lone, 397),
    ],
)
@pytest.mark.parametrize(("arch", "asks"), [("arm64", PAIR_ASKS), ("powerpc", ("read", "try"))])
def test_a_symmetry_keeps_the_verdict_elsewhere(
    symmetry: Callable[..., object], step: int, arch: str, asks: tuple[str, ...]
) -> None:
    pairs, differ = exhaust_pairs.compare(symmetry, "batched", step, asks, arch)
    assert pairs >= 50
    assert differ == 0


def test_what_is_no_symmetry_is_seen() -> None:
    _, differ = exhaust_pairs.compare(exhaust_pairs.wrong, HISTORICAL, 499, ("try",))
    assert differ > 0


# Runs.


def test_a_run_ends_with_a_certificate(tmp_path: Path) -> None:
    run = Exhaust(plan(tmp_path), quiet=True)
    assert not run.canary_is_missed()
    run.run()
    record = run.certificate()
    assert run.exit_code() == exits.OK
    assert record["complete"]
    assert record["executed"] == run.scope.total == 16 * 130
    assert record["unexplained"] == 0
    path = run.write_certificate()
    assert path.read_text() == "\n".join(lines(record)) + "\n"
    assert json.loads(path.with_suffix(".json").read_text()) == record
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [path.name, path.with_suffix(".json").name]
    )


class Stops(Exhaust):
    """A run that is interrupted after a few ranges."""

    def _keep(self, numbers, progress) -> None:  # type: ignore[no-untyped-def]
        super()._keep(numbers, progress)
        self.interrupted = self.done == 5


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    whole = Exhaust(plan(tmp_path / "whole"), quiet=True)
    whole.run()
    stopped = Stops(plan(tmp_path / "parts"), quiet=True)
    stopped.run()
    assert stopped.exit_code() == exits.TOO_LITTLE
    assert not stopped.certificate()["complete"]
    again = Exhaust(plan(tmp_path / "parts"), quiet=True)
    assert again.resumed
    assert 0 < again.sums.cases < again.scope.total
    again.run()
    assert to_json(again.certificate()) == to_json(whole.certificate())


def test_a_state_of_another_scope_is_refused(tmp_path: Path) -> None:
    stopped = Stops(plan(tmp_path), quiet=True)
    stopped.run()
    state = json.loads(stopped.state_path.read_text())
    state["scope"]["sources"] = "other"
    stopped.state_path.write_text(json.dumps(state))
    with pytest.raises(CaseError, match="begun with other sources; --restart begins anew"):
        Exhaust(plan(tmp_path), quiet=True)
    stopped.state_path.write_text("{")
    with pytest.raises(CaseError, match="not a state of exhaust"):
        Exhaust(plan(tmp_path), quiet=True)
    assert not Exhaust(plan(tmp_path, restart=True), quiet=True).resumed


@pytest.mark.parametrize(
    ("arch", "target", "shows", "asks"),
    [
        ("x86_64", HISTORICAL, "cow-write", SMALL),
        ("powerpc", HISTORICAL, "cow-write", ("try",)),
        ("arm64", "zoo:unfold-without-tlbi", "unfold-missing", ("read",)),
        ("arm64", "zoo:fold-without-tlbi", "fold-missing", ("read",)),
    ],
)
def test_a_mutant_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    target: str,
    shows: str,
    asks: tuple[str, ...],
) -> None:
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(tmp_path / "findings"))
    run = Exhaust(plan(tmp_path, target=target, arch=arch, asks=asks), quiet=True)
    run.run()
    record = run.certificate()
    assert run.exit_code() == exits.DIVERGENCE
    assert record["unexplained"] > 0
    assert shows in record["classes"]
    for found in record["findings"]:
        assert (tmp_path / "findings" / found["file"]).exists()
        judged = run.runner.run(found["number"], found["number"] + 1)[0].verdicts
        assert found["class"] in classes.names(next(iter(judged)))


def test_the_work_directory_of_the_environment_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings, too: those of `shrink` and `gate` went to the checkout whatever MIDFOLIO_WORK said."""
    monkeypatch.delenv("MIDFOLIO_FINDINGS", raising=False)
    monkeypatch.setenv("MIDFOLIO_WORK", str(tmp_path / "work"))
    assert Plan("x86_64", "7.3", "batched", 1).directory == tmp_path / "work" / "exhaust"
    assert findings.directory() == tmp_path / "work" / "findings"


def test_two_outcomes_are_seen(tmp_path: Path) -> None:
    run = Exhaust(plan(tmp_path), quiet=True)
    middle = run.chunks[len(run.chunks) // 2]
    given = run.runner.run

    def once_otherwise(first: int, last: int):  # type: ignore[no-untyped-def]
        sums, shown = given(first, last)
        if (first, last) == middle and run.done:
            sums.digest ^= 1
        return sums, shown

    run.runner.run = once_otherwise  # type: ignore[method-assign]
    run.run()
    assert run.exit_code() == exits.FLAKY


# The command.


def test_wrong_use_is_one_line() -> None:
    for arguments, part in (
        (("--arch", "powerpc", "--flags", "wp"), "unknown flags 'wp'"),
        (("--flags", "nope", "--ptes", "1"), "unknown flags 'nope'"),
        (("--ptes", "9"), "9"),
    ):
        done = midfolio("exhaust", *arguments)
        assert done.returncode == exits.BAD_INPUT, done.stderr
        assert part in done.stderr
        assert done.stderr.count("\n") == 1


def compiled(work: Path, *arguments: str) -> dict[str, object]:
    """The certificate of a compiled run."""
    done = midfolio("exhaust", "--work", str(work), "--json", *arguments, MIDFOLIO_MODE="compiled")
    assert done.returncode == 0, done.stderr
    record: dict[str, object] = json.loads(done.stdout)
    return record


def raw_cases(record: dict[str, object]) -> dict[str, int]:
    """How many raw cases the certificate says have each verdict."""
    counted: dict[str, int] = {}
    for verdict in record["verdicts"]:  # type: ignore[attr-defined]
        if verdict["raw_cases"]:
            counted[" ".join(verdict["classes"])] = verdict["raw_cases"]
    return counted


def test_compiled_runs_agree(tmp_path: Path) -> None:
    """One job and two, raw and canonical, compiled and interpreted."""
    one = compiled(tmp_path / "1", "--ptes", "2")
    two = compiled(tmp_path / "2", "--ptes", "2", "--jobs", "2")
    assert one == two
    (text,) = (tmp_path / "1").glob("*.txt")
    assert text.read_bytes() == (tmp_path / "2" / text.name).read_bytes()
    raw = compiled(tmp_path / "raw", "--ptes", "2", "--raw", "--jobs", "2")

    # Each canonical case counted as often as it stands for a raw one, the sums are equal
    # verdict by verdict: no symmetry changed one.
    counted = raw_cases(one)
    assert raw_cases(raw) == counted
    assert sum(counted.values()) == raw["executed"]
    assert len(counted) > 30
    assert raw["executed"] == one["stands_for"]
    small = compiled(tmp_path / "small", "--ptes", "1", "--flags", SMALL[0])
    run = Exhaust(plan(tmp_path), quiet=True)
    run.run()
    assert small["digest"] == run.certificate()["digest"]
