"""Adapters to other programs: MONAI Label, CVAT, MONAI Deploy and Holoscan.

Each imports its program, which is no dependency of this package; see docs/deployment.md.
"""
