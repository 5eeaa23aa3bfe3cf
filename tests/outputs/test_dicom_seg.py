"""Masks as a DICOM segmentation, read back by highdicom."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from surgsam2 import open_video
from surgsam2.errors import InputError, OutputError
from surgsam2.outputs import OutputContext, OutputSet, dicom_seg
from surgsam2.prompts import ObjectClass, PromptSet
from surgsam2.results.frame_result import FrameResult
from tests.video.test_dicom import HEIGHT, WIDTH, a_series, a_video, stream

LIVER = ObjectClass(2, "Liver", "", "SCT^123037004^Anatomical Structure~SCT^10200004^Liver")


@pytest.fixture
def a_source(tmp_path: Path) -> Path:
    content = stream(tmp_path, "libx264", ".mp4")
    return a_video(
        tmp_path / "a.dcm", content, FrameTime=40, StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(), PatientID="4711",
    )  # fmt: skip


def masks_of(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    masks = np.zeros((2, height, width), bool)
    masks[0, 10 + index : 40, 20:50] = True
    if index != 1:
        masks[1, 50:60, index : index + 33] = True
    return masks


def write(source: Path, out: Path, frames: tuple[int, ...] = (0, 1, 4), **more: object) -> Path:
    prompts = PromptSet()
    prompts.add(object_id=3, frame=0, points=[[1, 1, 1]], name="Leber ü", object_class=LIVER)
    prompts.add(object_id=9, frame=0, points=[[1, 1, 1]], color="#ff0000")
    scores = np.ones(2, np.float32)
    with open_video(source) as video:
        context = OutputContext(
            video.width, video.height, video.fps, prompts.objects, files=video.files, **more
        )
    out.mkdir(exist_ok=True)
    with OutputSet(out, ["dicom-seg"], context) as outputs:
        for index in frames:
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            outputs.write(pixels, FrameResult(index, (3, 9), masks_of(index), scores, scores))
    return out / "segmentation.dcm"


def test_highdicom_reads_the_masks_of_each_frame(a_source: Path, tmp_path: Path) -> None:
    path = write(a_source, tmp_path / "out")
    assert [p.name for p in path.parent.iterdir()] == ["segmentation.dcm"]
    source = pydicom.dcmread(a_source, stop_before_pixels=True)
    found = highdicom.seg.segread(path)
    assert found.NumberOfFrames == 5
    pixels = found.get_pixels_by_source_frame(
        source.SOPInstanceUID, [1, 2, 5], ignore_spatial_locations=True
    )
    for row, index in enumerate((0, 1, 4)):
        assert np.array_equal(pixels[row] > 0, masks_of(index).transpose(1, 2, 0))
    liver, other = (found.get_segment_description(number) for number in (1, 2))
    assert (liver.segment_label, other.segment_label) == ("Leber ü", "object 9")
    assert liver.segmented_property_type.meaning == "Liver"
    assert other.segmented_property_type.meaning == "Selected region"
    assert found.StudyInstanceUID == source.StudyInstanceUID
    (series,) = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID


def test_patient_data_are_written_only_when_asked_for(a_source: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(write(a_source, tmp_path / "out"))
    assert (str(data.PatientName), data.PatientID) == ("", "")
    assert b"Nobody" not in (tmp_path / "out" / "segmentation.dcm").read_bytes()
    data = pydicom.dcmread(write(a_source, tmp_path / "named", tells_names=True))
    assert (str(data.PatientName), data.PatientID) == ("Nobody^Known", "4711")


def test_the_frames_of_a_series_refer_to_its_files(tmp_path: Path) -> None:
    folder = a_series(tmp_path / "series", [1, 2, 3], StudyInstanceUID=generate_uid())
    found = highdicom.seg.segread(write(folder, tmp_path / "out", (0, 2)))
    with open_video(folder) as video:
        uids = [pydicom.dcmread(path).SOPInstanceUID for path in video.files]
    pixels = found.get_pixels_by_source_instance([uids[0], uids[2]], ignore_spatial_locations=True)
    assert np.array_equal(pixels[1] > 0, masks_of(2).transpose(1, 2, 0))


def test_frames_whose_pixels_do_not_fill_bytes(
    a_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of 9 x 7 pixels ends in the middle of a byte."""
    context = OutputContext(9, 7, 25, PromptSet().add(
        object_id=1, frame=0, points=[[1, 1, 1]]).objects, files=(a_source,),
    )  # fmt: skip
    masks = np.random.default_rng(1).random((5, 1, 7, 9)) > 0.5
    one = np.ones(1, np.float32)
    with OutputSet(tmp_path, ["dicom-seg"], context) as outputs:
        for index, mask in enumerate(masks):
            outputs.write(np.zeros((7, 9, 3), np.uint8), FrameResult(index, (1,), mask, one, one))
    read = pydicom.dcmread(tmp_path / "segmentation.dcm").pixel_array
    assert np.array_equal(read > 0, masks[:, 0])


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    """Neither the present date nor a random UID is in the file."""
    source = a_video(
        tmp_path / "a.dcm", stream(tmp_path, "libx264", ".mp4"), ContentDate="20240229",
        ContentTime="101112",
    )  # fmt: skip
    path = write(source, tmp_path / "out")
    assert path.read_bytes() == write(source, tmp_path / "again").read_bytes()
    data = pydicom.dcmread(path)
    assert (data.ContentDate, data.ContentTime) == ("19000101", "000000")
    data = pydicom.dcmread(write(source, tmp_path / "named", tells_names=True))
    assert (data.ContentDate, data.ContentTime) == ("20240229", "101112")


def test_a_full_disk_leaves_the_file_of_an_earlier_run(a_source: Path, tmp_path: Path) -> None:
    before = write(a_source, tmp_path / "out").read_bytes()
    with open_video(a_source) as video:
        prompts = PromptSet().add(object_id=3, frame=0, points=[[1, 1, 1]])
        context = OutputContext(
            video.width, video.height, video.fps, prompts.objects, files=video.files
        )
    writer = dicom_seg.DicomSegWriter(tmp_path / "out", context)
    one = np.ones(1, np.float32)
    result = FrameResult(0, (3,), masks_of(0)[:1], one, one)
    writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8), result)
    writer._file.close()
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    with pytest.raises(OutputError, match=r"segmentation\.dcm: .*[Nn]o space"):
        writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8), result)
    writer.close()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["segmentation.dcm"]
    assert (tmp_path / "out" / "segmentation.dcm").read_bytes() == before


def test_a_run_without_masks_leaves_no_file(a_source: Path, tmp_path: Path) -> None:
    assert not write(a_source, tmp_path / "out", ()).exists()


def test_what_is_refused(a_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(files=())
    with pytest.raises(InputError, match="refers to the frames of a DICOM file"):
        dicom_seg.DicomSegWriter.check_run(tmp_path, nothing)  # type: ignore[arg-type]
    monkeypatch.setattr(dicom_seg, "MAX_BYTES", 3000)
    with pytest.raises(InputError, match=r"segmentation\.dcm would have more than the 3000 bytes"):
        write(a_source, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out" / "segmentation.dcm").NumberOfFrames == 1
