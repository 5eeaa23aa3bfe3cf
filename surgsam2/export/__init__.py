"""Export of the network as ONNX graphs, one per step of a video frame, to run without PyTorch."""

from __future__ import annotations

from surgsam2.export.write import export_onnx

__all__ = ["export_onnx"]
