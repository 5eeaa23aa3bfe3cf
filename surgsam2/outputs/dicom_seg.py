"""The masks of a DICOM video as a DICOM segmentation (SEG)."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surgsam2.errors import InputError
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.classes import classes_of
from surgsam2.prompts import ObjectClass, PromptedObject
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import replace, temporary_beside, writing
from surgsam2.version import __version__
from surgsam2.video.dicom_header import (
    damaged_dicom,
    import_pydicom,
    is_dicom,
    read_elements,
)

MAX_BYTES = 2**32 - 2
"""Bytes of the largest pixel data that a DICOM file can hold."""
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_REGION = "SCT^309825002^Spatial and relational concept~DCM^111099^Selected region"
"""Codes of category and type of an object whose class has none."""
_PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What a file must have about patient and study, which is empty unless names are to be told."""
_CONTENT = {"ContentDate": "19000101", "ContentTime": "000000"}
"""What stands for the date and the time of the content, which must not be empty."""
_SOURCE = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "LossyImageCompression",
)  # fmt: skip


class DicomSegWriter(OutputWriter):
    """Writes ``segmentation.dcm``: one segment for each object, one frame for each of its masks.

    Each frame names the file and the frame of the video that it belongs to. The file has the study
    and the series of the video as references, and about the patient and the time of the study
    nothing unless names are to be told. The date of the content is the video's then, and otherwise
    1 January 1900, so that equal runs give equal files. Empty masks have no frame; a run without a
    mask leaves no file. A segment has the codes of the object's class, or those of a selected
    region. The masks go to a temporary file at once.

    Raises:
        InputError: the video is not DICOM.
    """

    needs_order: ClassVar[bool] = True

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self.check_run(self.folder, context)
        self._path = self.folder / "segmentation.dcm"
        self._part = temporary_beside(self._path)
        self._spool = temporary_beside(self._path)
        self._sources = [_source(path) for path in context.files]
        self._frames: list[tuple[int, int]] = []
        self._rest = np.zeros(0, bool)
        self._bytes = 0
        self._hash = hashlib.sha256()
        self._closed = False
        with writing(self._path):
            self._file = self._spool.open("wb")

    @classmethod
    def check_run(cls, folder: Path, context: OutputContext) -> None:
        """Refuse a video that is not DICOM, to which the frames could not refer."""
        if not context.files or not all(map(is_dicom, context.files)):
            raise InputError(
                "the format dicom-seg refers to the frames of a DICOM file, and the video is none; "
                "leave the format out, or give the DICOM file"
            )
        for path in context.files:
            _source(path)

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            if mask.any():
                self._put(np.concatenate([self._rest, mask.ravel()]))
                self._frames.append((object_id, result.frame_index))

    def _put(self, bits: np.ndarray) -> None:
        """Append bits; those that do not fill a byte wait for the next ones."""
        whole = len(bits) - len(bits) % 8
        if self._bytes + whole // 8 > MAX_BYTES:
            raise InputError(
                f"segmentation.dcm would have more than the {MAX_BYTES} bytes of pixels that DICOM "
                "allows; choose fewer frames with --start and --stop, or --stride"
            )
        data = np.packbits(bits[:whole], bitorder="little").tobytes()
        self._rest = bits[whole:].copy()
        self._bytes += len(data)
        self._hash.update(data)
        try:
            with writing(self._path):
                self._file.write(data)
        except BaseException:
            self._discard()
            raise

    def close(self) -> None:
        """Write the file with all masks and give it its final name."""
        if self._closed:
            return
        try:
            with writing(self._path):
                rest = np.packbits(self._rest, bitorder="little").tobytes()
                size = self._bytes + len(rest)
                self._file.write(rest + b"\0" * (size % 2))
                self._file.close()
            if self._frames:
                with writing(self._path), self._spool.open("rb") as pixels:
                    data = self._dataset()
                    data.PixelData = pixels
                    data["PixelData"].VR = "OB"
                    data.save_as(self._part, enforce_file_format=True)
                replace(self._part, self._path)
        finally:
            self._discard()

    def _discard(self) -> None:
        """Close and delete the unfinished files, which cannot become valid any more."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._file.close()
        for path in (self._spool, self._part):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _dataset(self) -> Any:
        pydicom = import_pydicom(self._path)
        from pydicom.dataset import Dataset, FileMetaDataset

        source = self._sources[0]
        uid = pydicom.uid.generate_uid(
            entropy_srcs=[source.SOPInstanceUID, self._hash.hexdigest(), repr(self._frames)]
        )
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.UID(_EXPLICIT_LITTLE)
        data.SpecificCharacterSet = "ISO_IR 192"
        data.SOPClassUID, data.SOPInstanceUID = _SEGMENTATION, uid
        told = source if self.context.tells_names else Dataset()
        for name in _PATIENT:
            setattr(data, name, told.get(name, ""))
        for name, otherwise in _CONTENT.items():
            setattr(data, name, told.get(name) or otherwise)
        data.StudyInstanceUID = source.StudyInstanceUID or f"{uid[:62]}.4"
        data.SeriesInstanceUID = f"{uid[:62]}.1"
        data.Modality, data.SeriesNumber, data.InstanceNumber = "SEG", 1, 1
        data.Manufacturer, data.ManufacturerModelName = "SurgSAM2", "SurgSAM2"
        data.SoftwareVersions, data.DeviceSerialNumber = __version__, "1"
        data.ContentLabel, data.ContentDescription = "SURGSAM2", "Objects of a surgical video"
        data.ContentCreatorName = ""
        data.ImageType = ["DERIVED", "PRIMARY"]
        data.SegmentationType = "BINARY"
        data.Rows, data.Columns = self.context.height, self.context.width
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 1
        data.HighBit = data.PixelRepresentation = 0
        data.LossyImageCompression = source.get("LossyImageCompression") or "00"
        data.NumberOfFrames = len(self._frames)
        numbers = {item.id: number for number, item in enumerate(self.context.objects, 1)}
        classes = classes_of(self.context.objects)
        data.SegmentSequence = [
            _segment(numbers[item.id], item, classes[item.id], uid) for item in self.context.objects
        ]
        _add_dimensions(data, f"{uid[:62]}.2")
        data.ReferencedSeriesSequence = [self._references(source)]
        data.SharedFunctionalGroupsSequence = [Dataset()]
        data.PerFrameFunctionalGroupsSequence = [
            self._groups(numbers[object_id], frame) for object_id, frame in self._frames
        ]
        return data

    def _references(self, source: Any) -> Any:
        series = _item(SeriesInstanceUID=source.get("SeriesInstanceUID", ""))
        series.ReferencedInstanceSequence = [_reference(item) for item in self._sources]
        return series

    def _groups(self, number: int, frame: int) -> Any:
        """Return the functional groups of one frame: its segment, its place and its source."""
        is_series = len(self._sources) > 1
        image = _reference(self._sources[frame if is_series else 0])
        if not is_series:
            image.ReferencedFrameNumber = frame + 1
        image.SpatialLocationsPreserved = "YES"
        image.PurposeOfReferenceCodeSequence = [
            _code("DCM^121322^Source image for image processing operation")
        ]
        derivation = _item(SourceImageSequence=[image])
        derivation.DerivationCodeSequence = [_code("DCM^113076^Segmentation")]
        content = _item(DimensionIndexValues=[number, frame + 1], TemporalPositionIndex=frame + 1)
        return _item(
            DerivationImageSequence=[derivation],
            FrameContentSequence=[content],
            SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=number)],
        )


def _source(path: Path) -> Any:
    """Return what is taken over from a file of the video, with values that can be written.

    Raises:
        VideoError: the file is damaged.
        InputError: the file does not say which DICOM object it is.
    """
    import_pydicom(path)
    with damaged_dicom(path), path.open("rb") as file:
        names = [*_SOURCE, *_PATIENT, *_CONTENT]
        data = read_elements(file, names)
        source = _item(**{name: _plain(name, data.get(name)) for name in names})
    if not (source.SOPClassUID and source.SOPInstanceUID):
        raise InputError(
            f"{path}: the file has no valid UID of its own, so no segmentation can refer to it; "
            "export it again, or leave out the format dicom-seg"
        )
    return source


def _plain(name: str, value: Any) -> str:
    """Return a value as text; empty for one that its element must not have."""
    text = "" if value is None else str(value)
    forms = {"UID": r"[0-9.]{1,64}", "Date": r"\d{8}", "Time": r"\d{2,6}(\.\d{1,6})?"}
    form = next((form for end, form in forms.items() if name.endswith(end)), None)
    if form is not None:
        return text if re.fullmatch(form, text) else ""
    allowed = {"LossyImageCompression": ("00", "01"), "PatientSex": ("M", "F", "O")}
    if name in allowed:
        return text if text in allowed[name] else ""
    text = "".join(character for character in text if character.isprintable())
    return text.replace("\\", " ")[: 16 if name in ("StudyID", "AccessionNumber") else 64]


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _reference(source: Any) -> Any:
    return _item(
        ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID
    )


def _code(text: str) -> Any:
    """Return a code of ``scheme^code^meaning``."""
    scheme, value, meaning = text.split("^")
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning[:64])


def _segment(number: int, item: PromptedObject, kind: ObjectClass, uid: str) -> Any:
    category, property_type = (kind.terminology or _REGION).split("~")
    return _item(
        SegmentNumber=number,
        SegmentLabel=item.name[:64],
        SegmentAlgorithmType="SEMIAUTOMATIC",
        SegmentAlgorithmName="SurgSAM2",
        SegmentedPropertyCategoryCodeSequence=[_code(category)],
        SegmentedPropertyTypeCodeSequence=[_code(property_type)],
        TrackingID=f"{item.id} {item.name}"[:64],
        TrackingUID=f"{uid[:52]}.3.{item.id}",
        RecommendedDisplayCIELabValue=_cielab(item.rgb),
    )


def _cielab(rgb: tuple[int, int, int]) -> list[int]:
    """Return a colour as DICOM's scaled L*, a* and b*, three whole numbers of 16 bits."""
    import cv2

    lightness, a, b = cv2.cvtColor(np.array([[rgb]], np.float32) / 255, cv2.COLOR_RGB2Lab)[0, 0]
    scaled = (lightness / 100, (a + 128) / 255, (b + 128) / 255)
    return [round(float(np.clip(value, 0, 1)) * 65535) for value in scaled]


def _add_dimensions(data: Any, uid: str) -> None:
    """Say by what the frames are ordered: by segment, then by the frame of the video."""
    data.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=uid)]
    pointers = (
        (0x0062000B, 0x0062000A),  # referenced segment number, segment identification
        (0x00209128, 0x00209111),  # temporal position index, frame content
    )
    data.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
        )
        for pointer, group in pointers
    ]
