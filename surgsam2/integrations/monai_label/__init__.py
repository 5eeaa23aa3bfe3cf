"""The app for MONAI Label's server: segmentation by clicks, video, and training from labels."""

from surgsam2.integrations.monai_label.app import SurgSAM2App

__all__ = ["SurgSAM2App"]
