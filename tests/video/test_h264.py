import io
import zlib

import av

from surgsam2.video.h264 import add_h264
from tests.conftest import moving_picture


def test_the_same_pictures_give_the_same_bytes():
    """At a width that is no multiple of 128, where x264 with AVX-512 may not do so by itself."""
    width, height = 160, 120
    pictures = moving_picture(12, width, height)

    def encoded() -> int:
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = add_h264(container, (width, height), 25, preset="medium", crf=20)
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return zlib.crc32(file.getvalue())

    assert len({encoded() for _ in range(25)}) == 1
