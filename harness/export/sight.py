"""What user space sees of a call: by the reference, and by the batched side where a batch merges.

Both run on the case as it is built, which is uniform where the case may be odd: what differs
between entries besides could part a batch that the running kernel merges. Any kernel must do what
one of the two does: one without large folios, without batches or with soft-dirty bits merges less.
"""

from mm.version import DEFAULT_VERSION

from ..anatomy import is_none, is_present, is_valid, pfn_of
from ..case import Case
from ..run import prepare, run
from ..targets import load
from .plan import Plan
from .scope import COPYING, SHARED, SHMEM, WRITE, field, is_marker, is_registered, lost

# What a write to a page must meet: no fault, a fault, either of them, userfaultfd, a refusal.
DIRECT, FAULT, EITHER, STOPPED, DENIED = "wf?u-"
# No page that is looked at.
HOLE = "."


def expected_of(case: Case, plan: Plan) -> str:
    """A letter for each place: what a write to it must meet after the call."""
    _, reference = prepare(as_built(case, plan))
    _, plain = prepare(case)
    batched = _outcome(case, plan, "batched")
    letters = [HOLE] * plan.places
    for i in range(case.call.start, case.call.end):
        one = _letter(case, plan, reference.ptes[i])
        if one != _letter(case, plan, plain.ptes[i]):
            raise lost(
                f"pte {i} {case.ptes[i]:#x} is seen otherwise once a program has built it",
                "entries with the VMA's own protection can",
            )
        other = _letter(case, plan, batched[i])
        letters[plan.at + i] = one if one == other else EITHER
        _check_exclusive(case, plan, i, one)
    return "".join(letters)


def _check_exclusive(case: Case, plan: Plan, index: int, letter: str) -> None:
    """Refuse a page of private memory that is exclusive and read-only in the end, or the reverse."""
    if plan.backing not in COPYING or letter not in (DIRECT, FAULT):
        return
    is_exclusive = plan.at + index in plan.exclusive
    if is_present(case.layout, case.ptes[index]) and (letter == DIRECT) != is_exclusive:
        raise lost(
            f"pte {index} is {'writable' if letter == DIRECT else 'read-only'} in the end and "
            f"its page {'' if is_exclusive else 'not '}exclusive",
            "pages that are writable exactly where they are exclusive can",
        )


def told_apart(case: Case, plan: Plan, expected: str, target: str) -> str | None:
    """What a kernel like `target` shows that `expected` forbids, in words; None for nothing.

    By its entries alone: that a flush is missing may show too, but a CPU need not show it.
    """
    words = _outcome(case, plan, target)
    for i in range(case.call.start, case.call.end):
        place = plan.at + i
        seen = _letter(case, plan, words[i])
        if seen != expected[place] and not (expected[place] == EITHER and seen in (DIRECT, FAULT)):
            return f"page {place} shows {seen}"
        if page_at(case, words[i]) != page_at(case, case.ptes[i]):
            return f"page {place} has another content"
    protected = protected_of(case, plan, words)
    return None if protected == remains_of(case, plan) else f"userfaultfd protects {protected}"


def shown_by(case: Case, plan: Plan, target: str) -> str:
    """A letter for each place: what a write to it meets on a kernel like `target`."""
    words = _outcome(case, plan, target)
    letters = [HOLE] * plan.places
    for i in range(case.call.start, case.call.end):
        letters[plan.at + i] = _letter(case, plan, words[i])
    return "".join(letters)


def _outcome(case: Case, plan: Plan, target: str) -> tuple[int, ...]:
    built = as_built(case, plan).replace(kernel=DEFAULT_VERSION)
    return run(built, load(target, case.arch).function).ptes


def page_at(case: Case, word: int) -> int | None:
    """The PFN that `word` maps, None for no page."""
    return pfn_of(case.layout, word) if is_present(case.layout, word) else None


def stops_of(case: Case, plan: Plan) -> str:
    """Which places userfaultfd protects before the call."""
    return protected_of(case, plan, case.ptes)


def remains_of(case: Case, plan: Plan) -> str:
    """Which places userfaultfd protects after the call."""
    _, ours = prepare(as_built(case, plan))
    return protected_of(case, plan, ours.ptes)


def protected_of(case: Case, plan: Plan, words: tuple[int, ...]) -> str:
    """Which places userfaultfd protects where the entries are `words`."""
    row = [HOLE] * plan.places
    for i, word in enumerate(words):
        if _is_protected(case, word):
            row[plan.at + i] = STOPPED
    return "".join(row)


def as_built(case: Case, plan: Plan) -> Case:
    """`case` with the entries of its range as the program makes them, without soft-dirty bits."""
    words = list(case.ptes)
    for i in range(case.call.start, case.call.end):
        if is_present(case.layout, words[i]):
            words[i] = _built(case, plan, i)
    return case.replace(ptes=tuple(words), config=case.config._replace(soft_dirty=False))


def _built(case: Case, plan: Plan, index: int) -> int:
    word, layout = case.ptes[index], case.layout
    is_dirty = bool(word & field(case, "dirty"))
    protected = word & field(case, "uffd")
    if plan.backing in COPYING:
        can_write = plan.at + index in plan.exclusive
    else:
        can_write = is_dirty or (plan.backing == SHMEM and not is_registered(case))
    writes = bool(plan.before & WRITE) and can_write and not protected
    rights = plan.before | SHARED if writes else plan.before
    made = int(layout.protection_map[rights]) | protected | word & field(case, "special")
    if is_dirty:
        made |= _mask(case, "dirty" if writes else "saved_dirty")
    pfn = pfn_of(layout, word) << layout.page_shift
    if layout.pfn_inverted and not is_valid(layout, made):
        pfn ^= int(layout.pfn_mask)
    return made | pfn


def _mask(case: Case, name: str) -> int:
    return next(int(f.mask) for f in case.layout.fields if f.name == name)


def _is_protected(case: Case, word: int) -> bool:
    if is_present(case.layout, word):
        return bool(word & field(case, "uffd"))
    return not is_none(case.layout, word) and is_marker(case, word)


def _letter(case: Case, plan: Plan, word: int) -> str:
    """What a write meets where the entry is `word`."""
    if not is_present(case.layout, word) and not is_registered(case):
        return HOLE
    # What the MMU lets through nobody stops.
    if is_present(case.layout, word) and word & field(case, "write"):
        return DIRECT
    if not plan.after & WRITE:
        return DENIED
    return STOPPED if _is_protected(case, word) else FAULT
