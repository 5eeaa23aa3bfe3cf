"""Scene files that are damaged or made to do harm; what is honest beside them."""

import io
import os
import stat
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

import surgsam2
from surgsam2.errors import InputError
from surgsam2.mrml import (
    MaskNodes,
    load_scene,
    load_video,
    open_mask_nodes,
    save_scene,
    scene_process,
    scene_trial,
)
from surgsam2.mrml.scene_check import UnpackedScene

MASKS = "scene/Data/Segmentation.seg.nrrd"
SEQUENCE = "scene/Data/Segmentation.seq.mrb"
DESCRIPTION = "scene/scene.mrml"


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Return what an honest scene file holds: bytes by name."""
    path = tmp_path_factory.mktemp("honest") / "scene.mrb"
    scene = slicer.vtkMRMLScene()
    noise = np.random.default_rng(3).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    with surgsam2.open_video(noise, fps=30) as video:
        nodes = load_video(scene, video, name="clip")
    masks = MaskNodes.create(scene, nodes)
    masks.add_object(1, "liver", "#e8c468")
    for frame in range(3):
        mask = np.zeros((48, 64), bool)
        mask[5 : 20 + frame, 9:30] = True
        masks.write(frame, {1: mask})
    save_scene(scene, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Use another folder for temporary files, also in other processes."""
    folder = tmp_path / "a" / "b" / "temporary"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def loaded(tmp_path, temporary, a_scene, contents):
    """Loads a scene file of these members; whatever happens, nothing else may change.

    Returns the message of the refusal, or None.
    """

    def load(members):
        path = tmp_path / "scene.mrb"
        packed(members, path)
        before, outside, here = contents(a_scene), everything(tmp_path), Path.cwd()
        message = None
        try:
            load_scene(a_scene, path)
        except InputError as error:
            message = str(error)
            assert contents(a_scene) == before
            assert message.startswith(str(path))
            assert "\n" not in message
            assert str(temporary) not in message
        assert everything(tmp_path) == outside
        assert Path.cwd() == here
        return message

    return load


def packed(members, path):
    """Return an archive of members: bytes by name or by ZipInfo."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def inside(archive, changes, tmp_path):
    """Return an archive with members of it changed or added."""
    path = tmp_path / "inside.zip"
    path.write_bytes(archive)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if name[-1] != "/"}
    path.unlink()
    packed({**members, **changes}, path)
    data = path.read_bytes()
    path.unlink()
    return data


def link_to(target, name):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {info: os.fsencode(target)}


def test_the_honest_scene_opens(members, loaded, a_scene, tmp_path):
    assert loaded(members) is None
    masks = open_mask_nodes(a_scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    assert [int(masks.mask(frame, 1).sum()) for frame in range(3)] == [315, 336, 357]
    assert a_scene.GetURL() == f"{tmp_path}/scene.mrml"
    assert a_scene.GetRootDirectory() == str(tmp_path)
    storage = a_scene.GetFirstNodeByClass("vtkMRMLSegmentationStorageNode")
    assert storage.GetFileName() == "Data/Segmentation.seg.nrrd"
    segmentation = a_scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetModifiedSinceRead()  # the file that it was read from is gone


def test_a_transform_that_could_lead_elsewhere(a_scene, tmp_path, temporary):
    """A link in an HDF5 file opens another file; what ITK writes has none."""
    transform = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "transform")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 7)
    transform.SetMatrixTransformToParent(matrix)
    save_scene(a_scene, tmp_path / "scene.mrb")
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        held = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    (name,) = [name for name, data in held.items() if data.startswith(b"\x89HDF")]
    old_link = b"\x06\0\x28\0\0\0\0\0" + b"\x01\x08@\x04link" + b"\0/etc/passwd\0/x\0"
    new_link = b"OHDR\x02\0\x20" + b"\x06\x1c\0\0" + b"\x01\x08@\x04link" + old_link[16:] + bytes(9)
    elsewhere = b"OHDR\x02\0\x0c" + b"\x07\x08\0\0" + bytes(12)
    cut_header, cut_message = b"OHDR\x02", b"OHDR\x02\0\x04" + b"\x06\0\0\0"
    for more in (old_link, new_link, elsewhere, b"FRHP", cut_header, cut_message):
        data = held[name] + more
        packed({**held, name: data}, tmp_path / "other.mrb")
        with pytest.raises(InputError, match="in which it could name other files; save the"):
            load_scene(slicer.vtkMRMLScene(), tmp_path / "other.mrb")
    packed({**held, name: held[name][:20]}, tmp_path / "cut.mrb")
    with pytest.raises(InputError, match="save the transform again as"):
        load_scene(slicer.vtkMRMLScene(), tmp_path / "cut.mrb")
    load_scene(slicer.vtkMRMLScene(), tmp_path / "scene.mrb")


def test_other_honest_nodes_open(a_scene, tmp_path, temporary):
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    add = a_scene.AddNewNodeByClass
    add("vtkMRMLModelNode", "model ü/..:1").SetAndObservePolyData(sphere.GetOutput())
    transform = add("vtkMRMLLinearTransformNode", "transform")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 7)
    transform.SetMatrixTransformToParent(matrix)
    add("vtkMRMLTextNode", "text").SetText("../../outside http://example.org /etc/passwd")
    table = add("vtkMRMLTableNode", "table")
    table.AddColumn().SetName("c")
    colors = add("vtkMRMLColorTableNode", "colors")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(2)
    colors.SetColor(1, "one", 1, 0, 0)
    save_scene(a_scene, tmp_path / "scene.mrb")
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "scene.mrb")
    points = scene.GetFirstNodeByName("model ü/..:1").GetPolyData().GetNumberOfPoints()
    assert points == sphere.GetOutput().GetNumberOfPoints()
    again = vtk.vtkMatrix4x4()
    scene.GetFirstNodeByName("transform").GetMatrixTransformToParent(again)
    assert again.GetElement(0, 3) == 7
    assert "example.org" in scene.GetFirstNodeByName("text").GetText()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../escaped", "scene/../../escaped", "../../../escaped", "{}/escaped", "..\\escaped"]
)
def test_members_stay_in_their_folder(members, loaded, tmp_path, name):
    name = name.format(tmp_path)
    message = loaded({**members, name: b"bad"})
    assert message is not None
    assert f"its member {name!r} has a" in message
    assert not list(tmp_path.rglob("*escaped"))


def test_links_are_not_followed(members, loaded, tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    link = link_to(target, "scene/link")
    message = loaded({**members, **link, "scene/link/escaped": b"bad"})
    assert "'scene/link' is a link" in message
    assert not list(target.iterdir())


@pytest.mark.parametrize("name", ["../escaped", "{}/escaped"])
def test_members_of_sequences_stay_in_their_folder(members, loaded, tmp_path, name):
    name = name.format(tmp_path)
    sequence = inside(members[SEQUENCE], {name: b"bad"}, tmp_path)
    message = loaded({**members, SEQUENCE: sequence})
    assert f"its member {SEQUENCE!r}: refused, because its member {name!r}" in message
    assert not list(tmp_path.rglob("*escaped"))


def test_a_second_name_of_a_member(members, loaded, tmp_path):
    """The list of members has one name, and MRML believes another that stands before the data."""
    sequence = inside(members[SEQUENCE], {"aa/escaped": b"bad"}, tmp_path)
    sequence = sequence.replace(b"aa/escaped", b"../escaped", 1)
    message = loaded({**members, SEQUENCE: sequence})
    assert message is not None
    assert "differ" in message
    assert not list(tmp_path.rglob("*escaped"))


def test_a_sequence_that_is_another_kind_of_archive(members, loaded, tmp_path):
    """MRML unpacks many kinds of archives."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(f"{tmp_path}/escaped")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"bad"))
    message = loaded({**members, SEQUENCE: buffer.getvalue()})
    assert f"its member {SEQUENCE!r}: cannot be read as a zip archive" in message
    assert not list(tmp_path.rglob("*escaped"))


@pytest.mark.parametrize("part", [0, 0.003, 0.03, 0.3, 0.6, 0.98, 0.99])
def test_cut_masks_do_not_end_the_process(members, loaded, part):
    data = members[MASKS]
    message = loaded({**members, MASKS: data[: int(len(data) * part)]})
    assert message is not None
    refusals = ("break down when they read it", "cannot be read as", "its header")
    assert any(refusal in message for refusal in refusals)


@pytest.mark.parametrize("part", [0.3, 0.99])
def test_cut_masks_in_a_sequence(members, loaded, tmp_path, part):
    name = "Segmentation.seq/Data/Segmentation_1.seg.nrrd"
    with zipfile.ZipFile(io.BytesIO(members[SEQUENCE])) as archive:
        data = archive.read(name)
    cut = {name: data[: int(len(data) * part)]}
    assert loaded({**members, SEQUENCE: inside(members[SEQUENCE], cut, tmp_path)}) is not None


@pytest.mark.parametrize("name", ["scene/Data/clip.nrrd", "scene/Data/clip.seq.nrrd", DESCRIPTION])
def test_other_cut_files(members, loaded, name):
    data = members[name]
    assert loaded({**members, name: data[: len(data) // 2]}) is not None


OUTSIDE = [
    "/etc/hostname",
    "../escaped.nrrd",
    "Data/../../../escaped.nrrd",
    "%2e%2e/escaped.nrrd",
    "..%2Fescaped.nrrd",
    "%2Fetc%2Fhostname",
    "~/escaped.nrrd",
    "C:/escaped.nrrd",
    "C:\\escaped.nrrd",
    "\\\\server\\share\\escaped.nrrd",
    "Data\\..\\..\\escaped.nrrd",
    "file:///etc/hostname",
    "http://example.org/escaped.nrrd",
]


@pytest.mark.parametrize("value", OUTSIDE)
def test_a_description_names_no_files_outside(members, loaded, value):
    data = members[DESCRIPTION].replace(
        b'fileName="Data/clip.nrrd"', f'fileName="{value}"'.encode()
    )
    assert data != members[DESCRIPTION]
    message = loaded({**members, DESCRIPTION: data})
    assert f"its member {DESCRIPTION!r}: its element 'VolumeArchetypeStorage' names" in message
    assert "may only name files of the scene itself" in message


@pytest.mark.parametrize(
    "element",
    [
        '<VolumeArchetypeStorage id="s1" fileName="Data/clip.nrrd" fileListMember0="/etc/passwd"/>',
        '<VolumeArchetypeStorage id="s1" uri="http://example.org/a.nrrd"/>',
        '<VolumeArchetypeStorage id="s1" uriListMember0="Data/clip.nrrd"/>',
        '<ColorTable id="vtkMRMLColorTableNode9" name="c" filename="/etc/passwd"/>',
        '<SceneView id="v"><SegmentationStorage id="s2" fileName="../a.seg.nrrd"/></SceneView>',
    ],
)
def test_every_way_to_name_a_file(members, loaded, element):
    data = members[DESCRIPTION].replace(b"</MRML>", element.encode() + b"</MRML>")
    assert "may only name files of the scene itself" in loaded({**members, DESCRIPTION: data})


def test_the_description_of_a_sequence_names_no_files_outside(members, loaded, tmp_path):
    name = "Segmentation.seq/Segmentation.mrml"
    with zipfile.ZipFile(io.BytesIO(members[SEQUENCE])) as archive:
        data = archive.read(name)
    data = data.replace(b'fileName="Data/', b'fileName="/Data/')
    sequence = inside(members[SEQUENCE], {name: data}, tmp_path)
    message = loaded({**members, SEQUENCE: sequence})
    assert f"its member {SEQUENCE!r}: its member {name!r}: its element" in message


def test_a_document_type_is_refused(members, loaded):
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><MRML>'
    data = members[DESCRIPTION].replace(b"<MRML", bomb + b"<MRML", 1)
    assert "declares a document type" in loaded({**members, DESCRIPTION: data})


def test_pixels_lie_in_the_scene(members, loaded):
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
    header += b"data file: /etc/hostname\n"
    message = loaded({**members, "scene/Data/a.nhdr": header})
    assert "its header names the data file '/etc/hostname', which is outside" in message
    message = loaded({**members, "scene/Data/a.json": header})
    assert "'scene/Data/a.json': is an NRRD file, and its name must end in" in message


def test_a_bomb(members, loaded, tmp_path, monkeypatch):
    data = bytes(80_000_000)
    path = tmp_path / "inner.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Segmentation.seq/bomb", data)
    bomb = path.read_bytes()
    path.unlink()
    message = loaded({**members, SEQUENCE: bomb})
    assert f"its member {SEQUENCE!r}: refused, because the archive has" in message


def test_more_memory_than_there_is(members, loaded, monkeypatch):
    """The header of a small file asks for 2 GB, and 500 MB are free."""
    monkeypatch.setattr(scene_trial, "free_memory", lambda: 500_000_000)
    data = members["scene/Data/clip.nrrd"].replace(b"sizes: 3 64 48 1", b"sizes: 3 64000 10416 1")
    assert data != members["scene/Data/clip.nrrd"]
    assert loaded({**members, "scene/Data/clip.nrrd": data}) is not None


def test_reading_without_end(members, loaded, monkeypatch):
    monkeypatch.setattr(scene_trial, "_SECONDS", 0.0)
    assert "does not come to an end" in loaded(members)


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no processor time")
def test_reading_takes_too_much_processor_time(members, loaded, monkeypatch, tmp_path):
    """The clock does not count: a busy machine must not refuse an honest scene."""
    monkeypatch.setattr(scene_trial, "_SECONDS", 0.1)
    monkeypatch.setattr(scene_trial, "_PATIENCE", 6000.0)
    python = tmp_path / "a" / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "from surgsam2.mrml import scene_process\n"
        "def read_without_end(scene, path):\n"
        "    while True:\n"
        "        pass\n"
        "scene_process.read_description = read_without_end\n"
        "scene_process.main()\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(scene_trial, "default_python", lambda: str(python))
    assert "reading it takes more than 0 s of processor time; it is damaged" in loaded(members)


def test_what_is_no_scene(members, loaded):
    assert "is not a scene" in loaded({"a.txt": b"text"})
    assert "several scenes" in loaded({**members, "scene/other.mrml": members[DESCRIPTION]})


def test_without_the_other_process(members, loaded, monkeypatch, tmp_path):
    """A scene that cannot be tried is not opened."""
    monkeypatch.setattr(scene_trial, "default_python", lambda: str(tmp_path / "nothing"))
    assert "cannot be checked before it is opened" in loaded(members)


def test_a_class_that_the_other_process_does_not_know(tmp_path):
    scene = UnpackedScene(tmp_path, tmp_path / "a.mrml", frozenset())
    with pytest.raises(InputError, match=r"a\.mrb: has a node of class vtkMRMLStrangeNode, which"):
        scene_trial.try_scene(scene, ["vtkMRMLStrangeNode"], Path("a.mrb"))


def test_the_modules_classes_are_found_as_in_slicers_own_python(tmp_path, monkeypatch):
    code = "import vtk\nclass vtkStrangeLogic(vtk.vtkObject):\n    pass\n"
    (tmp_path / "vtkSlicerStrangeModuleLogicPython.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    scene_process._load_module_classes()
    assert slicer.vtkStrangeLogic.__module__ == "vtkSlicerStrangeModuleLogicPython"
    monkeypatch.delattr(slicer, "vtkStrangeLogic")
