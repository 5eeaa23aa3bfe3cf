"""The encoder on a stream of its own, with a stand-in for CUDA's streams that notes their use."""

from __future__ import annotations

from contextlib import closing, nullcontext

import pytest
import torch

from surgsam2.model.cuda.stream_encoder import StreamEncoder
from surgsam2.model.frame_data import ImageFeatures

log: list[str] = []


class Stream:
    """Notes events and waits under the stream's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def record_event(self) -> str:
        log.append(f"{self.name} records")
        return f"event of {self.name}"

    def wait_stream(self, other: Stream) -> None:
        log.append(f"{self.name} waits for the {other.name}")

    def wait_event(self, event: str) -> None:
        log.append(f"{self.name} waits for the {event}")

    def __enter__(self) -> None:
        log.append(f"{self.name} begins")

    def __exit__(self, *_: object) -> None:
        log.append(f"{self.name} ends")


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    log.clear()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("encoder"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("tracker"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: log.append("kept"))


def features() -> ImageFeatures:
    assert not torch.is_grad_enabled()
    log.append("encodes")
    x = torch.zeros(1)
    return ImageFeatures(x, x, [x, x], (1, 1), x)


def test_the_tracker_waits_on_the_device_only() -> None:
    with closing(StreamEncoder(nullcontext, torch.device("cuda"))) as encoder:
        encoding = encoder.submit(features)
        encoder.finish(encoding)
    assert log == [
        "encoder waits for the tracker",
        "encoder begins",
        "encodes",
        "encoder records",
        "encoder ends",
        "tracker waits for the event of encoder",
        *["kept"] * 5,
    ]


def test_an_error_is_left_to_the_tracker() -> None:
    def fails() -> ImageFeatures:
        raise RuntimeError("no memory")

    with closing(StreamEncoder(nullcontext, torch.device("cuda"))) as encoder:
        encoder.finish(encoder.submit(fails))
    assert log[1:] == ["encoder begins", "encoder ends"]


def test_work_that_has_not_begun_is_dropped() -> None:
    with StreamEncoder(nullcontext, torch.device("cuda")).sharing_cores():
        assert log == ["encoder waits for the tracker"]
    encoder = StreamEncoder(nullcontext, torch.device("cuda"))
    encoder.close()
    with pytest.raises(RuntimeError):
        encoder.submit(features)
