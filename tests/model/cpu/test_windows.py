"""The order of tokens by attention windows."""

from __future__ import annotations

import pytest
import torch

from surgsam2.model.cpu.windows import Windows, change_order, row_order, window_order


@pytest.mark.parametrize(
    ("height", "width", "size"), [(8, 8, 4), (32, 32, 14), (5, 7, 3), (3, 3, 8)]
)
def test_the_order_of_windows(height: int, width: int, size: int) -> None:
    windows = Windows(height, width, size)
    positions = window_order(windows)
    assert sorted(positions.tolist()) == list(range(height * width))
    assert torch.equal(positions[row_order(windows)], torch.arange(height * width))
    for group in windows.groups():
        assert group.rows <= size
        assert group.columns <= size
        for window in positions[group.tokens].view(group.windows, group.rows, group.columns):
            rows, columns = window // width, window % width
            assert len(set((rows // size).flatten().tolist())) == 1
            assert len(set((columns // size).flatten().tolist())) == 1
            assert (rows == rows[:, :1]).all()
            assert (columns == columns[:1]).all()


def test_changing_the_order() -> None:
    old, new = Windows(12, 12, 2), Windows(12, 12, 5)
    values = torch.randn(144)
    assert torch.equal(values[window_order(old)][change_order(old, new)], values[window_order(new)])
