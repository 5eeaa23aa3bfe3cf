"""Data for training and evaluation: datasets, synthetic clips, sampling, augmentation.

NumPy and OpenCV only; nothing here imports torch.
"""

from surgsam2.data.augment import Augmentation, DrawnAugmentation
from surgsam2.data.endovis import EndoVis17, EndoVis18
from surgsam2.data.images import ImageDataset
from surgsam2.data.sample import Sample, draw_sample
from surgsam2.data.sequence import Dataset, Sequence
from surgsam2.data.surgical import LAYOUTS, SurgicalDataset
from surgsam2.data.synthetic import (
    Difficulty,
    SyntheticClip,
    SyntheticObject,
    generate_clip,
    write_video,
    write_vos,
)
from surgsam2.data.vos import VOSDataset

__all__ = [
    "LAYOUTS",
    "Augmentation",
    "Dataset",
    "Difficulty",
    "DrawnAugmentation",
    "EndoVis17",
    "EndoVis18",
    "ImageDataset",
    "Sample",
    "Sequence",
    "SurgicalDataset",
    "SyntheticClip",
    "SyntheticObject",
    "VOSDataset",
    "draw_sample",
    "generate_clip",
    "write_video",
    "write_vos",
]
