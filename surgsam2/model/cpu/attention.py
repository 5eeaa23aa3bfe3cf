"""Attention of one head over thousands of tokens, computed block by block.

Softmax subtracts the largest score of a query from all its scores, lest exponentials overflow.
The result is the same whatever is subtracted, and float32 holds exponentials of -87 to 88, so
nothing is subtracted here until the sums of a block leave a safe range. Most scores are then
read twice instead of five times. bfloat16 has the exponents of float32: scores and their
exponentials are bfloat16 then, sums and the output are float32 until the end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2.model.cpu import matmul

_QUERIES, _KEYS = 1024, 1536
"""Size of a block: the number of queries and of keys whose scores are in memory at once."""
_CHUNK = 64
"""Number of bfloat16 weights that are summed before the sum is rounded to bfloat16."""
_SAFE = 1e-25, 1e25
"""Range of the sums of exponentials. Outside it small ones are lost, or products overflow."""


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(query key^T / sqrt(D)) value.

    Args:
        query: (P, D) float32 or bfloat16.
        key: (N, D) of the same dtype.
        value: (N, V) of the same dtype.

    Returns:
        (P, V) of the same dtype.
    """
    if not matmul.uses_onednn(query.dtype) and query.shape[-1] == value.shape[-1]:
        # PyTorch's kernel multiplies by MKL; it needs values as wide as keys
        one = (None, None)  # a batch of one and one head
        return F.scaled_dot_product_attention(query[one], key[one], value[one])[0, 0]
    query = query * query.shape[-1] ** -0.5
    output = query.new_zeros(len(query), value.shape[1], dtype=torch.float32)
    for rows, target in zip(query.split(_QUERIES), output.split(_QUERIES), strict=True):
        _attend_rows(rows, key, value, target)
    return output.to(query.dtype)


def _attend_rows(query: Tensor, key: Tensor, value: Tensor, target: Tensor) -> None:
    """Write the output of some queries into `target`, which holds zeros.

    This is the online softmax of Milakov and Gimelshein (2018, arXiv:1805.02867).
    """
    total = query.new_zeros(len(query), 1, dtype=torch.float32)
    shift: Tensor | None = None
    blocks = zip(key.split(_KEYS), value.split(_KEYS), strict=True)
    for block, (keys, values) in enumerate(blocks):
        weights = _exponentials(matmul.linear(query, keys), shift)
        sums = _row_sums(weights)
        if not _is_safe(total + sums):
            scores = matmul.linear(query, keys)
            before, shift = shift, scores.amax(-1, keepdim=True).float()
            if block:
                before = torch.zeros_like(total) if before is None else before
                shift = torch.maximum(before, shift)
                factor = (before - shift).exp_()
                total.mul_(factor)
                target.mul_(factor)
            weights = _exponentials(scores, shift)
            sums = _row_sums(weights)
        total.add_(sums)
        matmul.add_linear(target, weights, values.t())
    target.div_(total)


def _row_sums(weights: Tensor) -> Tensor:
    """Sum the rows of (P, N) weights in float32: (P, 1).

    PyTorch would copy bfloat16 weights to sum them in float32, which takes as long as the
    exponentials. Each chunk is summed in float32 and rounded once; these errors are independent.
    """
    if weights.dtype == torch.float32:
        return weights.sum(-1, keepdim=True)
    whole = weights.shape[1] // _CHUNK * _CHUNK
    chunks = weights[:, :whole].unflatten(1, (-1, _CHUNK)).sum(-1).float()
    rest = weights[:, whole:].sum(-1, keepdim=True).float()
    return chunks.sum(-1, keepdim=True) + rest


def _exponentials(scores: Tensor, shift: Tensor | None) -> Tensor:
    """Replace (P, N) scores by their exponentials, after a (P, 1) shift is subtracted, if any."""
    return (scores if shift is None else scores.sub_(shift)).exp_()


def _is_safe(sums: Tensor) -> bool:
    """Return whether all (P, 1) sums of exponentials lie within the safe range."""
    least, most = map(float, sums.aminmax())
    return _SAFE[0] < least and most < _SAFE[1]
