"""AdamW with Muon's orthogonal steps for weight matrices.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
(kellerjordan.github.io/posts/muon), with the step size of Liu et al., "Muon is Scalable for
LLM Training", arXiv:2502.16982, eq. 4, so that AdamW's learning rates can stay.
`torch.optim.Muon` computes in bfloat16, which takes 30 times as long on processors without it.
"""

from __future__ import annotations

from typing import Any

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x^3 and x^5 in a Newton-Schulz step, from Jordan et al."""
_ITERATIONS = 5
"""Number of Newton-Schulz steps."""
_STEP_RMS = 0.2
"""Root mean square of an element of AdamW's usual step, in units of the learning rate."""


class Muon(torch.optim.AdamW):
    """AdamW, and Muon for the parameter groups with `"muon": True`, which hold matrices only.

    A matrix moves by `0.2 sqrt(max(rows, columns))` times its orthogonalised momentum
    (Nesterov's), in units of the learning rate; weight decay is AdamW's.
    """

    def __init__(self, params: Any, *, momentum: float = 0.95, **options: Any) -> None:
        super().__init__(params, **options)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient by one step."""
        matrices = [
            (matrix, matrix.grad, group)
            for group in self.param_groups
            if group.get("muon")
            for matrix in group["params"]
            if matrix.grad is not None
        ]
        for matrix, _, _ in matrices:
            matrix.grad = None  # AdamW ignores parameters without a gradient.
        super().step()
        for matrix, gradient, group in matrices:
            matrix.grad = gradient
            self._move(matrix, gradient, group["lr"], group["weight_decay"])

    def _move(
        self, matrix: torch.Tensor, gradient: torch.Tensor, lr: float, weight_decay: float
    ) -> None:
        """Move one matrix by an orthogonalised step, after its weight decay."""
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
            state["step"] = torch.zeros(())  # AdamW expects it when a state is loaded.
        momentum = state["momentum"].lerp_(gradient, 1 - self._momentum)
        direction = orthogonalised(gradient.lerp(momentum, self._momentum))
        matrix.mul_(1 - lr * weight_decay)
        matrix.add_(direction, alpha=-lr * _STEP_RMS * max(matrix.shape) ** 0.5)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of `matrix` near 1 (0.7 to 1.2) by Newton-Schulz steps.

    Those below a thousandth of its Frobenius norm stay smaller.
    """
    a, b, c = _QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).float()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)
