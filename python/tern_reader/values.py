"""Numbers: how trits and scales become weights. FORMAT.md, sections 7 and 11."""

import struct
from typing import List

INFINITY = float("inf")


def round32(value: float) -> float:
    """Nearest binary32, ties to even."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return INFINITY if value > 0 else -INFINITY


def encode(value: float, dtype: str) -> bytes:
    """A binary32 value in one of the floating dtypes, rounded once."""
    if dtype == "F64":
        return struct.pack("<d", value)
    if dtype == "F32":
        return struct.pack("<f", value)
    if dtype == "F16":
        try:
            return struct.pack("<e", value)
        except OverflowError:
            return struct.pack("<e", INFINITY if value > 0 else -INFINITY)
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    if value != value:
        return struct.pack("<H", bits >> 16 | 0x40)
    return struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def decode(data: bytes, dtype: str) -> List[float]:
    """A tensor of a floating dtype as binary32 values."""
    if dtype == "BF16":
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        return list(struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(h << 16 for h in halves))))
    size, letter = {"F64": (8, "d"), "F32": (4, "f"), "F16": (2, "e")}[dtype]
    values = struct.unpack(f"<{len(data) // size}{letter}", data)
    return [round32(value) for value in values] if dtype == "F64" else list(values)


def split_scales(raw: bytes, singles: int, halves: int) -> List[float]:
    """The scales block: all f32 scales, then all bf16 ones. Byte planes, section 7."""
    f32 = join_planes(raw[: 4 * singles], 4)
    bf16 = join_planes(raw[4 * singles :], 2)
    return decode(f32, "F32") + decode(bf16, "BF16")


def join_planes(planes: bytes, size: int) -> bytes:
    count = len(planes) // size
    joined = bytearray(len(planes))
    for plane in range(size):
        joined[plane::size] = planes[plane * count : (plane + 1) * count]
    return bytes(joined)


def xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")
