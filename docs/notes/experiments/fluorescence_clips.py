"""Writes generated clips as near-infrared fluorescence imaging shows them: bright green on dark.

A domain that the built-in model was not trained on, to see what fine-tuning gains; the
commands and what came of them are in docs/notes/fine-tuning.md.

    python docs/notes/experiments/fluorescence_clips.py FOLDER FIRST_SEED CLIPS
"""

from __future__ import annotations

import sys

import numpy as np

from surgsam2.data import SyntheticClip, write_vos

FRAMES, SIZE = 40, (256, 256)


class FluorescenceClip(SyntheticClip):
    """A generated clip in other colours; what is where stays the same."""

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `SyntheticClip.frame`."""
        picture, labels = super().frame(index)
        red, green, blue = np.moveaxis(picture.astype(np.float32) / 255, -1, 0)
        signal = np.clip(1.6 * green - 0.8 * red + 0.3, 0, 1) ** 1.5
        shown = np.stack([0.1 * signal, signal, 0.25 * signal + 0.1 * blue], axis=-1)
        return np.round(255 * shown).astype(np.uint8), labels


def main(folder: str, first_seed: str, clips: str) -> None:
    """One sequence for each seed from `first_seed` on."""
    for seed in range(int(first_seed), int(first_seed) + int(clips)):
        clip = FluorescenceClip(seed, FRAMES, SIZE, None, "normal")
        write_vos(clip, folder, clip.name, "png")


if __name__ == "__main__":
    main(*sys.argv[1:])
