"""What the panel and the Python console call, grouped by what it is about."""

from SurgSAM2Lib.logic.core import LogicCore

__all__ = ["LogicCore"]
