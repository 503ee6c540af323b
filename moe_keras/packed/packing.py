"""Whole numbers of few bits in bytes, and out of them again.

D: inputs of a kernel    H: its outputs    P: bytes of a packed column
"""

import numpy as np
import tensorflow as tf

# Bits of the fields into which a number is cut: fields of one width fill bytes.
_FIELDS = {2: (2,), 3: (2, 1), 4: (4,), 8: (8,)}


def pack(codes, bits):
    """Put several whole numbers into each byte of a column.

    Args:
        codes: uint8 array `(D, H)`; D a multiple of 8.
        bits: int.

    Returns:
        uint8 array `(P, H)`.

    Example:

    >>> pack(np.arange(8, dtype="uint8")[:, None], 4).ravel().tolist()
    [64, 81, 98, 115]
    """
    packed, shift = [], 0
    for width in _FIELDS[bits]:
        field = (codes >> shift) & (2**width - 1)
        parts = np.split(field, 8 // width)
        total = np.zeros_like(parts[0])
        for place, part in enumerate(parts):
            total |= part << (width * place)
        packed.append(total)
        shift += width
    return np.concatenate(packed)


def unpack(packed, bits):
    """Take the numbers out of the bytes again: `pack`, backward.

    Args:
        packed: uint8 tensor `(P, H)`.
        bits: int.

    Returns:
        uint8 tensor `(D, H)`.

    Example:

    >>> codes = np.arange(8, dtype="uint8")[:, None]
    >>> unpack(pack(codes, 3), 3).numpy().ravel().tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    if bits == 8:
        return packed
    rows = packed.shape[0] * 8 // bits
    codes, start, shift = None, 0, 0
    for width in _FIELDS[bits]:
        part = packed[start : start + rows * width // 8]
        fields = [
            tf.bitwise.right_shift(part, tf.constant(width * place, tf.uint8))
            & (2**width - 1)
            for place in range(8 // width)
        ]
        field = tf.bitwise.left_shift(
            tf.concat(fields, axis=0), tf.constant(shift, tf.uint8)
        )
        codes = field if codes is None else codes | field
        start += rows * width // 8
        shift += width
    return codes
