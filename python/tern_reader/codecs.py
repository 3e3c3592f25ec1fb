"""Trit codecs 1 and 2 and what all codecs share: CODECS.md, sections 1 and 2."""

from typing import List, NamedTuple, Tuple

from . import sgr
from .bits import BitReader, VarintReader
from .errors import TernError, invalid

# A non-zero: (index within the part, +1 or -1).
NonZeros = List[Tuple[int, int]]


class Part(NamedTuple):
    rows: int
    cols: int
    start: int
    cells: int
    side: bytes


def no_side(data: bytes, at: int, rows: int, cols: int) -> int:
    return 0


def decode_bitplane(data: bytes, parts: List[Part]) -> List[NonZeros]:
    cells = sum(part.cells for part in parts)
    mask_bytes = (cells + 7) // 8
    mask = int.from_bytes(data[:mask_bytes], "little")
    count = bin(mask).count("1")
    if len(data) != mask_bytes + (count + 7) // 8:
        raise invalid(f"bit planes of {len(data)} bytes")
    signs = int.from_bytes(data[mask_bytes:], "little")
    if mask >> cells or signs >> count:
        raise invalid("padding bits of a bit plane are not zero")
    decoded, first, n = [], 0, 0
    for part in parts:
        found = []
        own = (mask >> first) & ((1 << part.cells) - 1)
        for at, byte in enumerate(own.to_bytes((part.cells + 7) // 8, "little")):
            for bit in range(8):
                if byte >> bit & 1:
                    found.append((at * 8 + bit, -1 if signs >> n & 1 else 1))
                    n += 1
        decoded.append(found)
        first += part.cells
    return decoded


def decode_rice(data: bytes, parts: List[Part]) -> List[NonZeros]:
    at, decoded = 0, []
    for part in parts:
        reader = VarintReader(data, at, len(data))
        count, at = reader.next(), reader.at
        if count > part.cells:
            raise invalid(f"{count} non-zeros in {part.cells} entries")
        found = []
        if count:
            if at >= len(data) or data[at] > 18:
                raise invalid("no Rice parameter from 0 to 18")
            found, at = _rice_gaps(data, at + 1, data[at], count, part.cells)
        decoded.append(found)
    if at != len(data):
        raise invalid(f"{len(data) - at} bytes behind a rice frame")
    return decoded


def _rice_gaps(data: bytes, at: int, r: int, count: int, cells: int):
    bits = BitReader(data, at, len(data))
    found, index = [], -1
    for _ in range(count):
        index += (bits.unary(cells >> r) << r) + bits.read(r) + 1
        if index >= cells:
            raise invalid("a position past the end of its part")
        found.append((index, -1 if bits.read(1) else 1))
    return found, bits.finish()


def decode_sgr(data: bytes, parts: List[Part]) -> List[NonZeros]:
    if data[:1] == b"\0":
        return decode_rice(data[1:], parts)
    return sgr.decode_frame(data, parts)


# id -> name, bytes of a tensor's side information, decoder of a frame
CODECS = {
    1: ("bitplane", no_side, decode_bitplane),
    2: ("rice", no_side, decode_rice),
    3: ("sgr", sgr.side_length, decode_sgr),
}


def codec_by_id(number: int):
    if number not in CODECS:
        raise TernError("CODEC_UNKNOWN", f"trit codec {number}")
    return CODECS[number]
