"""Checksums of bytes that lie one after another, from the checksums of the pieces."""

from __future__ import annotations

from functools import cache

_POLYNOMIAL = 0x82F63B78
_BITS = 32


def combine_crc32c(first: int, second: int, second_length: int) -> int:
    """CRC-32C of A + B from those of A and B, and the length of B."""
    power = 0
    length = second_length
    while length:
        if length & 1:
            first = _times(_zero_bytes(power), first)
        length >>= 1
        power += 1
    return first ^ second


def _times(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total


@cache
def _zero_bytes(power: int) -> tuple[int, ...]:
    """What 2**power zero bytes do to a checksum: a matrix over GF(2), as columns."""
    if power:
        half = _zero_bytes(power - 1)
        return tuple(_times(half, column) for column in half)
    matrix = (_POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    for _ in range(3):
        matrix = tuple(_times(matrix, column) for column in matrix)
    return matrix
