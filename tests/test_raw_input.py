"""Inputs of atheris: bytes that say all, and mutations that stay lawful. Needs no atheris."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.choices import GENERATOR_VERSION
from fuzz.engines.raw_input import MAX_WORD, Input, decode, encode, room, size_of
from fuzz.engines.raw_mutator import MAX_WINDOW, MAX_WORDS, OPERATORS, fresh, mutate, splice
from fuzz.sources import sources
from harness.case import ARCHES, CaseError
from harness.casefile import parse_case

from .test_cli import midfolio

SOME = Input("powerpc", "6.18", 7, 0x1234, (1, MAX_WORD, 0))


def test_the_bytes_are_these():
    data = encode(SOME)
    assert data[:16] == b"mfz16.18powerpc\0"
    assert data[16:32] == bytes([GENERATOR_VERSION, 0, 7, 0, 0, 0, 0, 0, 0x34, 0x12, *[0] * 6])
    assert data[32:] == bytes([1, *[0] * 7]) + b"\xff" * 8 + bytes(8)
    assert decode(data) == SOME
    assert len(data) == size_of(3)
    assert [room(size) for size in (0, 31, 32, 39, 40, 56)] == [0, 0, 0, 0, 1, 3]


def test_a_cut_word_is_filled_up():
    assert decode(encode(SOME)[:-15]).words == (1, 0xFF_FFFF_FFFF_FFFF >> 48)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"mfz1", b"mfz9", "begins with mfz1"),
        (b"powerpc", b"sparc\0\0", "unknown arch 'sparc'"),
        (b"6.18", b"5.0\0", "unknown kernel '5.0'"),
        (b"powerpc\0\3", b"powerpc\0\2", "generator version 2 is not"),
        (b"\7\0\0\0\0\0", b"\7\7\0\0\0\0", "at most 512"),
    ],
)
def test_other_bytes_are_refused(old, new, words):
    data = encode(SOME)
    assert old in data
    with pytest.raises(CaseError, match=words):
        decode(data.replace(old, new, 1), "x")
    with pytest.raises(CaseError, match="the header alone has 32"):
        decode(data[:20])


@pytest.mark.parametrize("arch", ARCHES)
def test_mutations_are_lawful_bounded_and_repeatable(arch):
    rng, what, seen = random.Random(3), Input(arch, "7.3"), set()
    for number in range(120):
        before, seed = what, rng.getrandbits(32)
        what = mutate(before, random.Random(seed), 20)
        assert what == mutate(before, random.Random(seed), 20)
        assert len(what.words) <= 20
        assert decode(encode(what)) == what
        seen.add(what)
        if number % 4 == 0:
            assert what.case().check() is None
    assert len(seen) > 100
    assert {(w.arch, w.kernel) for w in seen} == {(arch, "7.3")}


@pytest.mark.parametrize("operator", sorted(set(OPERATORS), key=lambda o: o.__name__))
def test_each_operator_changes_something(operator):
    rng = random.Random(1)
    what = fresh(rng, Input("x86_64", "7.3"))
    made = [operator(rng, what) for _ in range(20)]
    assert sum(one != what for one in made) > 10
    assert all(0 <= one.window <= MAX_WINDOW and one.arch == "x86_64" for one in made)


def test_a_splice_has_words_of_both_and_the_call_of_the_first():
    rng = random.Random(1)
    one = replace(SOME, arch="x86_64", words=tuple(range(1, 13)))
    other = replace(one, words=tuple(range(101, 113)), key=9)
    made = [splice(one, other, rng) for _ in range(20)]
    assert all(m.words[:3] == (1, 2, 3) and m.key == one.key for m in made)
    assert any(max(m.words) > 100 and 4 in m.words for m in made)
    assert all(len(m.words) <= MAX_WORDS for m in made)


def test_a_small_mutation_changes_a_small_part():
    """The key is no function of the words: what comes behind them stays."""
    what = Input("x86_64", "7.3", 30, 77, (0, 0, 0))
    other = replace(what, words=(0, 0, 1))
    one, two = what.case(), other.case()
    assert (one.ptes, one.folios) == (two.ptes, two.folios)
    assert one.mm == two.mm or one.mm.users == two.mm.users


def test_show_and_replay_take_inputs(tmp_path: Path):
    path = tmp_path / "crash-0123"
    path.write_bytes(encode(Input("arm64", "7.3", 16, 5)))
    (source,) = sources((str(path),))
    assert source.case == Input("arm64", "7.3", 16, 5).case()
    done = midfolio("show", str(path))
    assert done.returncode == 0, done.stderr
    text = done.stdout[done.stdout.index("midfolio-case 1") :]
    assert parse_case(text).case == source.case
    path.write_bytes(b"mfz1" + bytes(40))
    done = midfolio("replay", str(path))
    assert done.returncode == 2
    assert f"{path}: unknown arch" in done.stderr
