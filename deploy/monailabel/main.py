"""The app's entry point, which MONAI Label's server looks for; see docs/monai-label.md."""

from surgsam2.integrations.monai_label import SurgSAM2App

__all__ = ["SurgSAM2App"]
