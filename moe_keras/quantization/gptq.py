"""GPTQ: rounds a kernel so that its products change least (arXiv:2210.17323).

The rows of a kernel are rounded one after the other. What a row loses is made
good by those that come after it, as far as the inputs allow: by the inverse
of their second moments `X^T X`. For experts these are the tokens routed to
each one, so that each is rounded for what it sees.

n: tokens of an expert    D: inputs of a kernel    H: its outputs
"""

import numpy as np

from moe_keras.packed.rounding import grid_of_rows, nearest, round_kernel

# Of the mean of the diagonal, added to it, as in the paper.
_DAMPING = 0.01


def gptq_kernel(kernel, inputs, quantization):
    """Round the kernel of one expert for its inputs.

    Args:
        kernel: Array `(D, H)`.
        inputs: Array `(n, D)`, what the kernel is multiplied with. Without a
            row each weight is rounded to the nearest number.
        quantization: `WeightQuantization`.

    Returns:
        dict of arrays, as of `round_kernel`.

    Example:

    >>> from moe_keras.packed.rounding import WeightQuantization
    >>> kernel, inputs = np.array([[0.3], [1.0]]), np.array([[1.0, 1.0]])
    >>> rounded = gptq_kernel(kernel, inputs, WeightQuantization(2, None))
    >>> rounded["codes"].ravel().tolist()  # of steps of 1/3
    [1, 3]
    """
    if not len(inputs):
        return round_kernel(kernel, quantization)
    upper = _inverse_root(np.asarray(inputs, "float64"))
    _, size = quantization.groups(len(kernel))
    ahead = np.array(kernel, "float64")  # rows with the losses of those before
    codes, grids = [], []
    for place, row in enumerate(ahead):
        if place % size == 0:
            group = ahead[place : place + size]
            grids.append(grid_of_rows(group, quantization))
        scale, zero = grids[-1]
        codes.append(nearest(row, scale, zero, quantization))
        loss = (row - scale * (codes[-1] - zero)) / upper[place, place]
        ahead[place + 1 :] -= np.outer(upper[place, place + 1 :], loss)
    return {
        "codes": np.stack(codes).astype("uint8"),
        "scale": np.stack([scale for scale, _ in grids]),
        "zero": np.stack([zero for _, zero in grids]).astype("uint8"),
    }


def _inverse_root(inputs_nD):
    """Upper triangular U with `U^T U` the inverse of the second moments."""
    moments = inputs_nD.T @ inputs_nD / len(inputs_nD)
    diagonal = np.diag_indices(len(moments))
    # An input that is always 0 tells nothing of its row.
    moments[diagonal] += np.where(moments[diagonal] == 0, 1.0, 0.0)
    moments[diagonal] += _DAMPING * np.mean(moments[diagonal])
    return np.linalg.cholesky(np.linalg.inv(moments)).T
