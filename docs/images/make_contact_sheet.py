"""Makes docs/images/lite-real-clip.jpg: frames of an overlay video side by side.

real-clip.jpg was made in the same way with an earlier built-in model.

surgsam2 segment endo.mp4 --prompts docs/images/real-clip.json --output OUT
python docs/images/make_contact_sheet.py OUT/overlay.mp4 docs/images/lite-real-clip.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import surgsam2

COLUMNS, ROWS = 4, 5
WIDTH = 320


def main(source: str, target: str) -> None:
    """Evenly spaced frames, the first and the last among them, in reading order."""
    with surgsam2.open_video(source) as video:
        height = round(WIDTH * video.height / video.width)
        chosen = np.linspace(0, video.frame_count - 1, COLUMNS * ROWS).round().astype(int)
        tiles = [
            cv2.resize(video[int(i)], (WIDTH, height), interpolation=cv2.INTER_AREA) for i in chosen
        ]
    rows = [np.hstack(tiles[r * COLUMNS : (r + 1) * COLUMNS]) for r in range(ROWS)]
    Image.fromarray(np.vstack(rows)).save(Path(target), quality=88)


if __name__ == "__main__":
    main(*sys.argv[1:])
