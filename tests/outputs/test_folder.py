import pytest

from surgsam2.errors import OutputError
from surgsam2.outputs import (
    INCOMPLETE,
    begin_output,
    finish_output,
    hold_output,
    is_ours,
    prepare_output,
    write_report,
)

PRODUCTS = ["masks/00000.png", "overlay.mp4", "frames.csv", "scene.mrb", "report.json"]
RESTS = ["overlay.mp4.part", ".report.json.0123abcd.part", "masks/.00001.png.0123abcd.part"]
FOREIGN = ["notes.txt", "masks/other.png", "masks/1.png", "video.mp4", "report.json.bak"]


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_incomplete_until_finished(tmp_path):
    folder = prepare_output(tmp_path / "a" / "b")
    assert (folder / INCOMPLETE).is_file()
    assert is_ours(folder)
    finish_output(folder)
    finish_output(folder)
    assert names_in(folder) == {".surgsam2"}


def test_a_folder_of_ours_loses_the_earlier_results_and_nothing_else(tmp_path):
    prepare_output(tmp_path)
    fill(tmp_path, PRODUCTS + RESTS + FOREIGN)
    prepare_output(tmp_path)
    assert names_in(tmp_path) == {INCOMPLETE, ".surgsam2", *FOREIGN}


def test_what_was_finished_can_be_kept(tmp_path):
    with hold_output(tmp_path) as held:
        folder = held.path
        fill(folder, PRODUCTS + RESTS)
        fill(folder, [".resume/state.pt"])
        begin_output(folder, keep=True)
        assert names_in(folder) == {INCOMPLETE, ".surgsam2", ".resume/state.pt", *PRODUCTS}
        begin_output(folder)
        assert names_in(folder) == {INCOMPLETE, ".surgsam2"}


def test_a_folder_that_is_held_is_refused(tmp_path):
    with (
        hold_output(tmp_path / "out"),
        pytest.raises(OutputError, match="another run is writing into this folder"),
    ):
        prepare_output(tmp_path / "out")
    prepare_output(tmp_path / "out")


def test_an_unusable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match="is empty; give a folder"):
        prepare_output("")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="it is a file; give a folder"):
        prepare_output(tmp_path / "file")


def test_other_folders_are_refused_and_stay_as_they_are(tmp_path):
    fill(tmp_path, PRODUCTS + FOREIGN)  # no marker, and a report.json that is not ours
    with pytest.raises(OutputError, match="not empty and not of an earlier run"):
        prepare_output(tmp_path)
    assert names_in(tmp_path) == set(PRODUCTS + FOREIGN)


def test_overwriting_removes_only_our_names(tmp_path):
    fill(tmp_path, PRODUCTS + FOREIGN)
    prepare_output(tmp_path, overwrite=True)
    assert names_in(tmp_path) == {INCOMPLETE, ".surgsam2", *FOREIGN}


def test_a_report_of_ours_is_recognised_without_the_marker(tmp_path):
    write_report(tmp_path, {})
    assert is_ours(tmp_path)
    prepare_output(tmp_path)


def test_linked_masks_are_not_followed(tmp_path):
    fill(tmp_path, ["elsewhere/00000.png"])
    folder = prepare_output(tmp_path / "out")
    (folder / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        prepare_output(folder)
    assert (tmp_path / "elsewhere" / "00000.png").exists()


def test_not_a_folder_or_not_writable(tmp_path, a_full_disk):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match=f"cannot write {path}"):
            prepare_output(path)
    a_full_disk()
    with pytest.raises(OutputError, match="No space left"):
        prepare_output(tmp_path / "out")
