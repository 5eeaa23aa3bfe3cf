"""Maps are smoothed along the edges of a picture."""

from __future__ import annotations

import numpy as np
import torch

from surgsam2.model.guided_filter import guided_filter


def test_it_is_the_mean_of_the_regressions_around_each_pixel() -> None:
    generator = torch.Generator().manual_seed(1)
    picture = torch.randn(1, 3, 9, 9, generator=generator, dtype=torch.float64)
    values = torch.randn(1, 1, 9, 9, generator=generator, dtype=torch.float64)
    colours, wanted = picture[0].numpy(), values[0, 0].numpy()
    slopes, offsets = np.zeros((3, 9, 9)), np.zeros((9, 9))
    for y in range(1, 8):
        for x in range(1, 8):
            seen = colours[:, y - 1 : y + 2, x - 1 : x + 2].reshape(3, 9)
            there = wanted[y - 1 : y + 2, x - 1 : x + 2].ravel()
            covariance = np.cov(seen, bias=True) + 0.2 * np.eye(3)
            centred = seen - seen.mean(axis=1, keepdims=True)
            slopes[:, y, x] = np.linalg.solve(covariance, centred @ there / 9)
            offsets[y, x] = there.mean() - slopes[:, y, x] @ seen.mean(axis=1)
    filtered = guided_filter(picture, values, 1, 0.2)[0, 0]
    for y in range(2, 7):  # away from the repeated edges
        for x in range(2, 7):
            around = (slice(y - 1, y + 2), slice(x - 1, x + 2))
            slope = slopes[(slice(None), *around)].mean(axis=(1, 2))
            expected = slope @ colours[:, y, x] + offsets[around].mean()
            np.testing.assert_allclose(filtered[y, x], expected, atol=1e-9)


def test_edges_of_the_picture_stay_and_others_are_smoothed() -> None:
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 8:] = 1
    noise = 0.5 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    filtered = guided_filter(picture, picture[:, :1] + noise, 3, 0.001)
    assert (filtered - picture[:, :1]).std() < 0.5 * noise.std()
    assert (filtered[..., 8] - filtered[..., 7]).mean() > 0.8
