"""Attention of one head over thousands of tokens, a part of the scores at a time.

Softmax takes the largest score of a query from all of its scores, lest exponentials overflow.
The result is the same whatever is taken from them, and float32 holds exponentials of -87 to 88:
here nothing is taken until those of a part leave a safe range. So most scores are passed over
twice, not five times.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2.model.cpu import matmul as products

_QUERIES, _KEYS = 1024, 1536
"""Whose scores are held at a time."""
_SAFE = 1e-25, 1e25
"""Sums of exponentials. Beyond, smaller ones may be lost, or products with values overflow."""
_here = threading.local()


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(D)) value: (P, D), (N, D), (N, V) to (P, V)."""
    if not products.by_onednn() and query.shape[-1] == value.shape[-1]:
        # PyTorch's own needs as many channels of values as of keys; its products are MKL's
        one = (None, None)  # batch and head
        return F.scaled_dot_product_attention(query[one], key[one], value[one])[0, 0]
    query = query * query.shape[-1] ** -0.5
    mixed = query.new_zeros(len(query), value.shape[1])
    for part, place in zip(query.split(_QUERIES), mixed.split(_QUERIES), strict=True):
        _mix(part, key, value, place)
    return mixed


def _mix(query: Tensor, key: Tensor, value: Tensor, place: Tensor) -> None:
    """Online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867), into zeros."""
    total = query.new_zeros(len(query), 1)
    shift: Tensor | None = None
    parts = zip(key.split(_KEYS), value.split(_KEYS), strict=True)
    for part, (keys, values) in enumerate(parts):
        weights = _exponentials(_scores(query, keys), shift)
        sums = weights.sum(-1, keepdim=True)
        if not _safe(total + sums):
            scores = _scores(query, keys)
            before, shift = shift, scores.amax(-1, keepdim=True)
            if part:
                before = torch.zeros_like(total) if before is None else before
                shift = torch.maximum(before, shift)
                less = (before - shift).exp_()
                total.mul_(less)
                place.mul_(less)
            weights = _exponentials(scores, shift)
            sums = weights.sum(-1, keepdim=True)
        total.add_(sums)
        products.add_product(place, weights, values.t())
    place.div_(total)


def _exponentials(scores: Tensor, shift: Tensor | None) -> Tensor:
    return (scores if shift is None else scores.sub_(shift)).exp_()


def _safe(sums: Tensor) -> bool:
    least, most = map(float, sums.aminmax())
    return _SAFE[0] < least and most < _SAFE[1]


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    if products.by_onednn():
        return products.linear(query, keys)
    place = _room(len(query) * len(keys)).view(len(query), -1)
    return torch.mm(query, keys.t(), out=place)


def _room(values: int) -> Tensor:
    """Memory that this thread keeps: new memory is slow, as the system gives it page by page."""
    room: Tensor | None = getattr(_here, "room", None)
    if room is None or len(room) < values:
        with torch.inference_mode(False):  # or it could be written to in that mode alone
            _here.room = room = torch.empty(values, dtype=torch.float32, device="cpu")
    return room[:values]
