"""The function's entry point, which Nuclio looks for; see docs/cvat.md."""

from surgsam2.integrations.cvat import handler, init_context

__all__ = ["handler", "init_context"]
