"""A campaign goes on where it ended, repeats what is done, and is another one with another target."""

import functools
import time
from dataclasses import replace
from pathlib import Path

import pytest

import fuzz.novelty
from fuzz.content import content_of
from fuzz.guided.engine import MOST_TOLD
from fuzz.novelty import NR_SIGHTS, Novelty, sights
from fuzz.runner import Campaign, Plan
from fuzz.store.journal import Journal, is_complete, key_of
from fuzz.store.store import Entry
from fuzz.store.work import WorkDirectory
from harness.census import CASES, CLASS_CASES, ENTRIES, TRAIT_CASES, empty_tally

PLAN = Plan("x86_64", "7.3", "zoo:first-page-is-folio-head", seed=1, window=6, cases=60, cap=2)


def run(
    work: Path, plan: Plan = PLAN, *, fresh: bool = False, repeat: bool | None = None
) -> Campaign:
    """Run `plan` in `work` as the command does."""
    with WorkDirectory(work) as directory:
        again = (not fresh and is_complete(directory, plan)) if repeat is None else repeat
        journal = Journal(directory, plan, fresh=fresh, repeat=again)
        campaign = Campaign(plan, quiet=True, journal=journal)
        campaign.run()
    return campaign


@functools.cache
def alone(cases: int) -> tuple[list[int], list[int]]:
    """What a campaign without a work directory counts."""
    campaign = Campaign(replace(PLAN, cases=cases, cap=0), quiet=True)
    campaign.run()
    return campaign.tally.tolist(), campaign.seen.tolist()


def counts(campaign: Campaign) -> tuple[list[int], list[int]]:
    return campaign.tally.tolist(), campaign.seen.tolist()


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_runs_come_to_what_one_does(tmp_path: Path, jobs: int) -> None:
    first = run(tmp_path, replace(PLAN, cases=23))
    assert (first.before, first.resume_line()) == (0, "")
    second = run(tmp_path, replace(PLAN, jobs=jobs))
    assert second.before == 23
    assert counts(second) == alone(60)
    assert second.diverging() > 0
    assert second.ending() == (
        f"60 cases (23 of them before), {second.diverging()} cases diverge; case budget reached"
    )
    # The share of a class is one for all runs, and all files are there.
    assert [k.name for k in second.standing.kept].count("cow-write") == 2
    assert sorted(second.paths) == sorted((tmp_path / "findings").iterdir())
    assert second.elapsed > first.elapsed


def test_the_line_says_what_is_skipped(tmp_path: Path) -> None:
    run(tmp_path, replace(PLAN, cases=20))
    with WorkDirectory(tmp_path) as work:
        campaign = Campaign(
            PLAN, quiet=True, journal=Journal(work, PLAN, fresh=False, repeat=False)
        )
        shown = f", {campaign.diverging()} diverged" if campaign.diverging() else ""
        assert campaign.resume_line() == f"x86_64: goes on at case 20; 20 cases done before{shown}"


def test_a_red_campaign_stays_red(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code() == 1
    again = run(tmp_path, replace(PLAN, cases=61))
    assert again.before == 60
    assert again.exit_code() == 1


def test_what_is_done_is_run_again_and_kept(tmp_path: Path) -> None:
    first = run(tmp_path)
    files = sorted((tmp_path / "findings").iterdir())
    for cases in (60, 30):
        again = run(tmp_path, replace(PLAN, cases=cases))
        assert again.before == 0
        assert counts(again) == alone(cases)
        assert set(again.paths) <= set(first.paths)
    assert sorted((tmp_path / "findings").iterdir()) == files
    with WorkDirectory(tmp_path) as work:
        assert is_complete(work, PLAN)
        assert not is_complete(work, replace(PLAN, cases=61))
        assert not is_complete(work, replace(PLAN, cases=None))


def test_a_part_that_is_done_is_skipped_where_another_is_not(tmp_path: Path) -> None:
    run(tmp_path)
    rest = run(tmp_path, repeat=False)
    assert rest.resume_line() == "x86_64: nothing left to do; 60 cases done before"
    assert counts(rest) == alone(60)
    # It ran nothing, and is no campaign that came to nothing.
    assert rest.exit_code() == 1
    assert rest.why() == "case budget reached"


def test_fresh_begins_anew_and_deletes_no_finding(tmp_path: Path) -> None:
    run(tmp_path)
    files = sorted((tmp_path / "findings").iterdir())
    anew = run(tmp_path, replace(PLAN, cases=20), fresh=True)
    assert anew.before == 0
    assert counts(anew) == alone(20)
    assert sorted((tmp_path / "findings").iterdir()) == files


def test_a_gap_is_filled(tmp_path: Path) -> None:
    with WorkDirectory(tmp_path) as work:
        journal = Journal(work, PLAN, fresh=False, repeat=False)
        journal.standing.done.add(10, 60)
        journal.standing.tally[CASES] = 50
        journal.close(0.0)
    campaign = run(tmp_path)
    assert list(campaign.standing.done) == [(0, 60)]
    assert campaign.standing.cases == 60


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "arm64"},
        {"kernel": "6.17"},
        {"target": "batched"},
        {"batching": 1},
        {"denied": 1},
        {"engine": "guided"},
        {"seed": 2},
        {"window": 7},
    ],
    ids=str,
)
def test_another_plan_is_another_campaign(change: dict[str, object]) -> None:
    assert key_of(replace(PLAN, **change)) != key_of(PLAN)


def test_a_budget_is_no_other_campaign() -> None:
    plan = replace(PLAN, cases=1, seconds=1.0, plateau=1.0, jobs=2, cap=9, hang=1.0)
    assert key_of(plan) == key_of(PLAN)


def test_a_changed_target_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "library.so").write_text("one")
    plans = [
        replace(PLAN, target=target) for target in ("changing:change_pte_range", "./library.so")
    ]
    (tmp_path / "changing.py").write_text("def change_pte_range(state):\n    return 0\n")
    before = [key_of(plan) for plan in plans]
    content_of.cache_clear()
    assert [key_of(plan) for plan in plans] == before
    (tmp_path / "changing.py").write_text("def change_pte_range(state):\n    return 1\n")
    (tmp_path / "library.so").write_text("two")
    content_of.cache_clear()
    assert all(key_of(plan) != old for plan, old in zip(plans, before, strict=True))


def test_entries_of_a_guided_engine_come_back(tmp_path: Path) -> None:
    plan = replace(PLAN, engine="guided")
    for number in range(3):
        with WorkDirectory(tmp_path) as work:
            journal = Journal(work, plan, fresh=False, repeat=False)
            assert [e.name for e in journal.entries()] == [str(n) for n in range(number)]
            assert journal.corpus == number
            journal.note(0.0, at_once=False, entries=[Entry(str(number), "text", [number])])
            assert journal.corpus == number + 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_guided_campaign_goes_on_from_its_corpus(tmp_path: Path, jobs: int) -> None:
    plan = replace(PLAN, target="batched", engine="guided", jobs=jobs)

    def guided(cases: int, *, fresh: bool = False) -> tuple[Campaign, list[Entry], str]:
        with WorkDirectory(tmp_path) as work:
            budget = replace(plan, cases=cases)
            journal = Journal(work, budget, fresh=fresh, repeat=False)
            campaign = Campaign(budget, quiet=True, journal=journal)
            campaign.hunter.grown, campaign.hunter.python_chunk = 20, 30
            begins = campaign.resume_line()
            campaign.run()
            return campaign, journal.entries(), begins

    first, kept, begins = guided(60)
    assert begins == ""
    assert first.taken_up == 0
    assert 0 < len(kept) == first.corpus <= 2 * MOST_TOLD
    second, more, begins = guided(120)
    assert begins == (
        f"x86_64: goes on at case 60; 60 cases done before; {len(kept)} cases of its corpus are "
        "taken up"
    )
    assert [entry.text for entry in more[: len(kept)]] == [entry.text for entry in kept]
    assert len(more) == second.corpus > len(kept)
    features = [feature for entry in more for feature in entry.features.tolist()]
    assert len(features) == len(set(features))
    # And it began with them.
    alone = second.plan.hunter()
    alone.grown = 20
    alone.start()
    assert second.hunter.counts()["features"] > alone.counts()["features"]
    third, _, begins = guided(30, fresh=True)
    assert (third.taken_up, begins) == (0, "")


def test_stats_are_lines_of_key_and_value(tmp_path: Path) -> None:
    campaign = run(tmp_path)
    lines = (tmp_path / "fuzzer_stats").read_text().splitlines()
    assert all(line[17:20] == " : " or "diverging_" in line for line in lines)
    values = dict(line.replace(" ", "").split(":", 1) for line in lines)
    assert values["execs_done"] == "60"
    assert values["saved_crashes"] == str(len(campaign.paths))
    assert values["diverging"] == str(campaign.diverging())
    assert int(values["diverging_cow-write"]) > 0
    assert {"start_time", "last_update", "run_time", "fuzzer_pid", "execs_per_sec"} <= set(values)
    assert {"corpus_count", "cycles_done", "command_line"} <= set(values)


def test_a_plateau_ends_a_campaign(tmp_path: Path) -> None:
    campaign = run(tmp_path, replace(PLAN, cases=None, plateau=1e-9))
    assert campaign.why() == "plateau: nothing new for 1e-09 s"
    assert campaign.standing.cases >= 50
    assert campaign.exit_code() in (0, 1)


def test_what_is_new_starts_the_clock_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(fuzz.novelty.time, "monotonic", lambda: clock[0])
    tally = empty_tally()
    novelty = Novelty(tally)

    def after(seconds: float, *, other: bool = False) -> float:
        clock[0] += seconds
        novelty.look(tally, other=other)
        return novelty.seconds()

    assert after(5) == 5
    tally[CASES] += 1
    tally[ENTRIES] += 9  # more of the same
    assert after(5) == 10
    tally[CLASS_CASES + 3] += 1
    assert after(5) == 0
    tally[CLASS_CASES + 3] += 1
    assert after(5) == 5
    tally[TRAIT_CASES] += 1
    assert after(5) == 0
    assert after(5, other=True) == 0
    assert sights(tally) == 2
    tally[:] = 1
    assert sights(tally) == NR_SIGHTS


def test_the_clock_is_that_of_the_machine() -> None:
    novelty = Novelty(empty_tally())
    time.sleep(0.01)
    assert 0.01 <= novelty.seconds() < 60
