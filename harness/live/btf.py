"""Offsets of the running kernel's structures, from its own description (BTF).

Only what is asked for is kept: a kernel describes some 100,000 types. Format:
Documentation/bpf/btf.rst, Linux 6.12.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..lane import LaneMissing

VMLINUX = Path("/sys/kernel/btf/vmlinux")
MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
TYPE = struct.Struct("<III")
MEMBER = struct.Struct("<III")

(
    _,
    INT,
    _PTR,
    ARRAY,
    STRUCT,
    UNION,
    ENUM,
    _FWD,
    TYPEDEF,
    VOLATILE,
    CONST,
    RESTRICT,
    _FUNC,
    FUNC_PROTO,
    VAR,
    DATASEC,
    _FLOAT,
    DECL_TAG,
    TYPE_TAG,
    ENUM64,
) = range(20)
# Bytes that follow a type's record: a fixed number, or so many for each of its `vlen` parts.
FIXED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
EACH = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


class Composite(NamedTuple):
    """A structure or union: its size in bytes, and name, type and offset in bits of its members."""

    size: int
    members: tuple[tuple[str, int, int], ...]


class Btf:
    """The types called `names`, and all enumerators; what they contain without a name, too."""

    def __init__(self, data: bytes, names: Iterable[str]) -> None:
        """Read `data`, the whole of a BTF file; LaneMissing if it is none."""
        if len(data) < HEADER.size:
            raise LaneMissing(f"a BTF of {len(data)} bytes is none")
        magic, _, _, header, type_at, type_len, str_at, str_len = HEADER.unpack_from(data)
        if magic != MAGIC or header + max(type_at + type_len, str_at + str_len) > len(data):
            raise LaneMissing(f"BTF begins with {magic:#x}, not {MAGIC:#x}, or is cut off")
        self._types = memoryview(data)[header + type_at : header + type_at + type_len]
        self._strings = data[header + str_at : header + str_at + str_len]
        self._at: list[int] = [0]
        self._enums: list[int] = []
        self._by_name = self._scan({name.encode() for name in names})

    def _scan(self, wanted: set[bytes]) -> dict[str, int]:
        found: dict[str, int] = {}
        at, end, types = 0, len(self._types), self._types
        places = {self._strings.find(b"\0" + name + b"\0") + 1: name.decode() for name in wanted}
        places.pop(0, None)
        while at < end:
            name, info, _ = TYPE.unpack_from(types, at)
            kind, parts = info >> 24 & 0x1F, info & 0xFFFF
            if kind in (STRUCT, UNION) and name in places:
                found.setdefault(places[name], len(self._at))
            elif kind in (ENUM, ENUM64):
                self._enums.append(at)
            self._at.append(at)
            at += TYPE.size + FIXED.get(kind, 0) + EACH.get(kind, 0) * parts
        return found

    def _name(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode()

    def _composite(self, number: int) -> Composite | None:
        """Type `number`, if it is a structure or union."""
        at = self._at[number]
        _, info, size = TYPE.unpack_from(self._types, at)
        if info >> 24 & 0x1F not in (STRUCT, UNION):
            return None
        members = []
        for part in range(info & 0xFFFF):
            name, kind, bits = MEMBER.unpack_from(self._types, at + TYPE.size + part * MEMBER.size)
            # With the flag set the top byte is the size of a bit field.
            members.append((self._name(name), kind, bits & 0xFF_FFFF if info >> 31 else bits))
        return Composite(size, tuple(members))

    def _named(self, name: str) -> Composite:
        if name not in self._by_name:
            raise LaneMissing(f"this kernel's BTF has no struct {name}")
        found = self._composite(self._by_name[name])
        assert found is not None
        return found

    def size(self, name: str) -> int:
        """The bytes of structure `name`; LaneMissing if there is none."""
        return self._named(name).size

    def offset(self, name: str, *members: str) -> int:
        """The byte in structure `name` at which the first of `members` that it has begins.

        Members of parts without a name count as its own. LaneMissing if it has none of them.
        """
        for member in members:
            bits = self._find(self._named(name), member)
            if bits is not None:
                return bits // 8
        raise LaneMissing(f"struct {name} of this kernel has no member {' or '.join(members)}")

    def _find(self, composite: Composite, wanted: str) -> int | None:
        for name, kind, bits in composite.members:
            if name == wanted:
                return bits
            inner = None if name else self._composite(kind)
            deeper = None if inner is None else self._find(inner, wanted)
            if deeper is not None:
                return bits + deeper
        return None

    def enumerator(self, name: str) -> int:
        """The value of enumerator `name`; LaneMissing if no enumeration has it."""
        place = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        for at in self._enums if place else ():
            _, info, _ = TYPE.unpack_from(self._types, at)
            step = EACH[info >> 24 & 0x1F]
            for part in range(info & 0xFFFF):
                named, value = struct.unpack_from("<II", self._types, at + TYPE.size + part * step)
                if named == place:
                    return int(value)
        raise LaneMissing(f"this kernel's BTF has no enumerator {name}")


def read_btf(names: Iterable[str], path: Path = VMLINUX) -> Btf:
    """The running kernel's BTF; LaneMissing where there is none to read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LaneMissing(
            f"no BTF: {path}: {error.strerror}; a kernel with CONFIG_DEBUG_INFO_BTF has it"
        ) from None
    return Btf(data, names)
