"""Inputs of atheris: the bytes of a file, which say all that its case depends on.

A header, then the words of choices (`fuzz.choices`), little-endian:

    0   "mfz1"             what it is
    4   kernel, 4 bytes    in ASCII, filled up with zeros; so is the next
    8   arch, 8 bytes
    16  generator version, 2 bytes
    18  window, 2 bytes    entries; 0 leaves it to the words
    20  zeros, 4 bytes
    24  key, 8 bytes       what comes after the words: zeros, or a stream of its own
    32  words, 8 bytes each; what is left of the last one is filled up with zeros

A changed word changes nothing but its own decisions, so that small mutations are
small: the key is part of the input and no function of it.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from harness.case import Case, CaseError
from mm.state import MAX_PTES

from ..choices import GENERATOR_VERSION, MAX_CHOICES
from ..given import case_of_words
from ..sources import RAW_MAGIC, check_stream

_HEADER = struct.Struct("<4s4s8sHH4xQ")
WORD = 8
MAX_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Input:
    """What an input says."""

    arch: str
    kernel: str
    window: int = 1
    key: int = 0
    words: tuple[int, ...] = ()

    def case(self) -> Case:
        """The case that it gives."""
        return case_of_words(self.arch, self.kernel, self.words, self.key, self.window)


def room(max_size: int) -> int:
    """How many words an input of `max_size` bytes has room for."""
    return max(0, (max_size - _HEADER.size) // WORD)


def size_of(nr_words: int) -> int:
    """The size of an input of so many words, in bytes."""
    return _HEADER.size + WORD * nr_words


def encode(what: Input) -> bytes:
    """The bytes of `what`; `decode` gives it back."""
    header = _HEADER.pack(
        RAW_MAGIC,
        what.kernel.encode(),
        what.arch.encode(),
        GENERATOR_VERSION,
        what.window,
        what.key,
    )
    return header + struct.pack(f"<{len(what.words)}Q", *what.words)


def is_input(data: bytes) -> bool:
    """Whether `data` begins as an input does."""
    return data.startswith(RAW_MAGIC)


def decode(data: bytes, name: str = "input") -> Input:
    """What `data` says; CaseError, with `name`, for bytes that are no input of this checkout."""
    if not is_input(data):
        raise CaseError(f"{name}: no input of atheris; one begins with {RAW_MAGIC.decode()}")
    if len(data) < _HEADER.size:
        raise CaseError(f"{name}: {len(data)} bytes; the header alone has {_HEADER.size}")
    _, kernel, arch, version, window, key = _HEADER.unpack_from(data)
    kernel, arch = (text.rstrip(b"\0").decode("ascii", "replace") for text in (kernel, arch))
    check_stream(name, arch, kernel, version, "case: line")
    if window > MAX_PTES:
        raise CaseError(f"{name}: window of {window} entries; at most {MAX_PTES}")
    rest = data[_HEADER.size : _HEADER.size + WORD * MAX_CHOICES]
    rest += bytes(-len(rest) % WORD)
    return Input(arch, kernel, window, key, struct.unpack(f"<{len(rest) // WORD}Q", rest))


def read(path: Path) -> Case:
    """The case of the input in file `path`; CaseError for a file that holds none."""
    return decode(path.read_bytes(), str(path)).case()
