"""Bit streams and varints: CODECS.md, "Notation and common rules"."""

from .errors import invalid


class BitReader:
    """Reads bytes[start:end] bit by bit, lowest bit of each byte first."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end
        self._pending = 0
        self._count = 0

    def _fill(self) -> None:
        if self._at >= self._end:
            raise invalid("a bit stream ends too early")
        self._pending |= self._data[self._at] << self._count
        self._at += 1
        self._count += 8

    def read(self, width: int) -> int:
        while self._count < width:
            self._fill()
        value = self._pending & ((1 << width) - 1)
        self._pending >>= width
        self._count -= width
        return value

    def unary(self, most: int) -> int:
        zeros = 0
        while self._pending == 0:
            zeros += self._count
            if zeros > most:
                raise invalid("a run of zero bits that is too long")
            self._count = 0
            self._fill()
        more = (self._pending & -self._pending).bit_length() - 1
        self._pending >>= more + 1
        self._count -= more + 1
        if zeros + more > most:
            raise invalid("a run of zero bits that is too long")
        return zeros + more

    def finish(self) -> int:
        """Offset of the first byte behind the stream; what is left of its last byte must be zero."""
        if self._pending or self._count > 7:
            raise invalid("a bit stream has padding that is not zero")
        return self._at


class VarintReader:
    """Reads varints from data[at:end]."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self.end = end

    def next(self) -> int:
        value = shift = 0
        while True:
            if self.at >= self.end:
                raise invalid("a number that is cut off")
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if value >> 32 or shift > 28:
                raise invalid("a number of more than 32 bits")
            if byte < 0x80:
                if byte == 0 and shift:
                    raise invalid("a number that is not in its shortest form")
                return value
            shift += 7
