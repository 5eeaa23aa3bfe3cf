"""Export of the network as ONNX graphs, one per step of a video frame, to run without PyTorch."""

from __future__ import annotations

from typing import Any

__all__ = ["export_onnx"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Folders of bundles are written without onnxruntime.
    from surgsam2.export.write import export_onnx

    return export_onnx
