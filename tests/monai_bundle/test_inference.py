"""`inference.json` writes the files of the command and the masks of Python, and reports errors."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from PIL import Image

import surgsam2
from surgsam2 import cli
from surgsam2.errors import InputError
from tests.monai_bundle.conftest import FRAMES, MonaiCommand, run_words

OPTIONS = {"pruning": "full-bank", "direction": "both", "stop": 4, "min_region": 0.003}


@pytest.fixture(scope="module")
def by_bundle(monai: MonaiCommand, a_bundle: Path, a_place: Path) -> Path:
    """Return the results of the bundle with some options."""
    words = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
    done = monai(
        *run_words(a_bundle), "--video", "clip.mp4", "--prompts", "prompts.json",
        "--output_dir", "by-bundle", "--device", "cpu", "--allow_overlap", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "complete: 4 frames" in done.stdout
    return a_place / "by-bundle"


@pytest.fixture(scope="module")
def by_command(a_bundle: Path, a_place: Path) -> Path:
    """Return the results of ``surgsam2 segment`` with the same options."""
    options = [
        word
        for name, value in OPTIONS.items()
        for word in ("--" + name.replace("_", "-"), str(value))
    ]
    code = cli.main([
        "segment", str(a_place / "clip.mp4"), "--prompts", str(a_place / "prompts.json"),
        "--output", str(a_place / "by-command"), "--model", str(a_bundle), "--device", "cpu",
        "--allow-overlap", *options,
    ])  # fmt: skip
    assert code == 0
    return a_place / "by-command"


def files_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_the_same_files_as_the_command(by_bundle: Path, by_command: Path) -> None:
    names = files_of(by_bundle)
    assert names == files_of(by_command)
    assert {"overlay.mp4", "annotations.coco.json", "masks/00003.png"} <= names
    for name in names - {"report.json", "frames.csv", ".results"}:  # these contain times
        assert (by_bundle / name).read_bytes() == (by_command / name).read_bytes(), name
    assert without_times(by_bundle) == without_times(by_command)


def without_times(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    report = json.loads((folder / "report.json").read_text())
    frames = report.pop("timings")["frames"]
    with (folder / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["milliseconds"]
    return report | {"frames": frames}, rows


def test_the_same_masks_as_in_python(by_bundle: Path, a_bundle: Path, a_place: Path) -> None:
    model = surgsam2.load_model(a_bundle, device="cpu", pruning="full-bank")
    prompts = surgsam2.load_prompts(a_place / "prompts.json")
    options = {"stop": 4, "direction": "both", "min_region": 0.003, "allow_overlap": True}
    results = surgsam2.segment_video(model, a_place / "clip.mp4", prompts, **options)
    seen = 0
    for result in results:
        label = np.array(Image.open(by_bundle / "masks" / f"{result.frame_index:05}.png"))
        mine = np.zeros_like(label)
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            mine[mask] = object_id
        assert np.array_equal(label, mine)
        seen += int(mine.any())
    assert seen == 4, "an empty mask says nothing"


def test_the_bundle_is_found_from_another_folder(
    monai: MonaiCommand, a_bundle: Path, a_place: Path, by_bundle: Path
) -> None:
    words = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
    done = monai(
        "run", "--config_file", a_bundle / "configs" / "inference.json", "--video", "clip.mp4",
        "--prompts", "prompts.json", "--output_dir", "elsewhere", "--device", "cpu",
        "--allow_overlap", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    masks = Path("masks", "00003.png")
    assert (a_place / "elsewhere" / masks).read_bytes() == (by_bundle / masks).read_bytes()


def test_a_wrong_option_is_one_line_and_nothing_is_written(
    monai: MonaiCommand, a_bundle: Path, a_place: Path
) -> None:
    done = monai(
        *run_words(a_bundle), "--video", "clip.mp4", "--prompts", "prompts.json",
        "--output_dir", "refused", "--sttart", 3,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "surgsam2: error: unknown option --sttart; did you mean start"
    )
    assert not (a_place / "refused").exists()


def run_here(bundle: Path, place: Path, **override: Any) -> None:
    given = {"video": str(place / "clip.mp4"), "prompts": str(place / "prompts.json")}
    monai.bundle.run(
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        logging_file=False,
        **given | {"output_dir": str(place / "refused"), "device": "cpu"} | override,
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' is not available"),
        ({"dtype": "float8"}, "dtype must be one of auto, float32"),
        ({"pruning": "some"}, "pruning must be one of capped"),
        ({"prune": "2x"}, "prune must be int, got '2x'"),
        ({"direction": "up"}, "direction must be one of forward, backward, both, got 'up'"),
        ({"start": "soon"}, "start must be int, got 'soon'"),
        ({"stop": 1.5}, "stop must be int, got 1.5"),
        ({"start": 99}, "frame range start 99"),
        ({"formats": "png,gif"}, "formats must be some of"),
        ({"formats": 3}, "formats must be tuple, got 3"),
        ({"fps": "quick"}, "fps must be float, got 'quick'"),
        ({"overwrite": "yes"}, "overwrite must be bool, got 'yes'"),
        ({"config": "dmo"}, "unknown config 'dmo'; did you mean demo"),
        ({"config": "sam2.1-hiera-tiny-512"}, "but the config 'sam2.1-hiera-tiny-512' is"),
        ({"model": "nothing"}, "model 'nothing' is neither a file nor a known model"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a whole number of 1 or more, got 0"),
        ({"video": ["a", "b"]}, "video must be str"),
        ({"video": "none.mp4"}, "video: none.mp4: no such file"),
        ({"prompts": "none.json"}, "prompts: none.json: the prompt file cannot be read"),
        ({"model": "none.pt"}, "model: none.pt: no such checkpoint file"),
        ({"resume": "perhaps"}, "resume must be bool, got 'perhaps'"),
        ({"video": None}, "video is needed: add --video PATH (or --datalist FILE)"),
        ({"datalist": "list.json"}, "leave out video and prompts"),
        ({"output_dir": ""}, "output_dir is needed: add --output_dir PATH"),
    ],
)
def test_wrong_values_are_refused_by_name(
    override: dict[str, Any], message: str, a_bundle: Path, a_place: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_here(a_bundle, a_place, **override)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, surgsam2.SurgSAM2Error):
        error = error.__cause__
    assert message in str(error)
    assert not (a_place / "refused").exists()


def test_a_checkpoint_of_another_model(a_bundle: Path, a_place: Path, tmp_path: Path) -> None:
    state = torch.load(a_bundle / "models" / "model.pt", weights_only=True)
    state["maskmem_tpos_enc"] = state["maskmem_tpos_enc"][:5]
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as caught:
        run_here(a_bundle, a_place, model=str(tmp_path / "other.pt"))
    assert "other.pt: does not fit the config 'demo'" in str(caught.value.__cause__)
    assert not (a_place / "refused").exists()


# many videos


def a_list(folder: Path, *entries: dict[str, str]) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(entries))
    return path


def test_a_zip_runs_somewhere_else_and_goes_on_after_a_failure(
    monai: MonaiCommand, a_bundle: Path, a_place: Path, tmp_path: Path
) -> None:
    assert cli.main(["bundle", "--model", str(a_bundle), "--output", str(tmp_path / "b.zip")]) == 0
    shutil.unpack_archive(tmp_path / "b.zip", a_place / "unpacked")
    (root,) = (a_place / "unpacked").iterdir()
    rest = {"prompts": "prompts.json"}
    a_list(
        a_place,
        {"video": "clip.mp4", "output": "one"} | rest,
        {"video": "none.mp4", "output": "two"} | rest,
        {"video": "clip.mp4", "output": "deep/three"} | rest,
    )
    done = monai(
        *run_words(root.relative_to(a_place)), "--datalist", "list.json", "--output_dir", "many",
        "--formats", "png,csv", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "surgsam2: error: 1 of 3 videos failed (two); see many/summary.json"
    summary = json.loads((a_place / "many" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert [v["status"] for v in summary["videos"]] == ["complete", "failed", "complete"]
    assert "the video: no such file" in summary["videos"][1]["error"]
    many = a_place / "many"
    assert not (many / "two").exists()
    for name in ("one", "deep/three"):
        assert len(list((many / name / "masks").iterdir())) == FRAMES
        assert not (many / name / "INCOMPLETE").exists()


def test_a_list_may_be_taken_up_again(
    a_bundle: Path, a_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_list(a_place, {"video": "clip.mp4", "prompts": "prompts.json", "output": "one"})
    given = {"datalist": str(path), "video": None, "prompts": None, "formats": "csv", "stop": 1}
    for resume, said in ((False, "complete: 1 frames"), ("true", "nothing to resume")):
        run_here(a_bundle, a_place, **given, output_dir=str(tmp_path / "many"), resume=resume)
        out = capsys.readouterr().out
        assert said in out
        assert f"all 1 videos complete; see {tmp_path / 'many' / 'summary.json'}\n" in out


def test_a_datalist_that_is_refused_starts_nothing(a_bundle: Path, a_place: Path) -> None:
    entry = {"video": "clip.mp4", "prompts": "prompts.json", "output": "same"}
    path = a_list(a_place, entry, entry)
    with pytest.raises(RuntimeError) as caught:
        run_here(a_bundle, a_place, datalist=str(path), video=None, prompts=None)
    assert isinstance(caught.value.__cause__, InputError)
    assert not (a_place / "refused").exists()
