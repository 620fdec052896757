"""What a cubin tells of its kernels, read from the ELF file itself: no tool of NVIDIA's is needed.

Section names and attributes are as NVIDIA's own tools print them (`cuobjdump -elf`); instructions
of compute capability 7.0 and later take 16 bytes, and the lowest 12 bits tell what they do.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

HMMA = 0x23C  # a product on tensor cores
LDGSTS = 0xFAE  # a copy to shared memory that nobody waits for
_HEADER, _SYMBOL = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
_NO_BITS = 8  # a section's kind: it has a size and no content
_REGISTERS, _FRAME = 0x2F, 0x11  # attributes of all kernels: number of a symbol, value
_SIZED = 4  # an attribute's format: its size follows


@dataclass(frozen=True)
class Kernel:
    """Registers of a thread, bytes of its stack (spilled registers lie there), bytes that a block
    shares, and how often each instruction stands in the code."""

    registers: int
    stack_bytes: int
    shared_bytes: int
    instructions: Counter[int]


def kernels_in(cubin: bytes) -> dict[str, Kernel]:
    """The kernels by name."""
    sections = {name: (header, content) for name, header, content in _sections(cubin)}
    symbols, names = sections[".symtab"][1], sections[".strtab"][1]
    told: dict[str, dict[int, int]] = {}
    for attribute, symbol, value in _attributes(sections[".nv.info"][1]):
        name = _text(names, _SYMBOL.unpack_from(symbols, symbol * _SYMBOL.size)[0])
        told.setdefault(name, {})[attribute] = value
    found = {}
    for section, (_, code) in sections.items():
        if section.startswith(".text."):
            name = section.removeprefix(".text.")
            shared = sections.get(f".nv.shared.{name}")
            found[name] = Kernel(
                registers=told[name][_REGISTERS],
                stack_bytes=told[name][_FRAME],
                shared_bytes=shared[0][5] if shared else 0,
                instructions=Counter(
                    struct.unpack_from("<Q", code, at)[0] & 0xFFF for at in range(0, len(code), 16)
                ),
            )
    return found


def _sections(elf: bytes) -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [_HEADER.unpack_from(elf, table + i * size) for i in range(count)]
    for header in headers:
        content = b"" if header[1] == _NO_BITS else elf[header[4] : header[4] + header[5]]
        yield _text(elf, headers[names][4] + header[0]), header, content


def _attributes(content: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at < len(content):
        form, attribute, size = struct.unpack_from("<BBH", content, at)
        if form == _SIZED:
            yield attribute, *struct.unpack_from("<II", content, at + 4)
        at += 4 + (size if form == _SIZED else 0)


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode()
