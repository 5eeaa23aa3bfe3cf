"""`surgsam2 demo`: a generated clip, segmented with the built-in model, and how good it was."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from surgsam2.commands.evaluate import ProgressBar
from surgsam2.commands.interrupt import stop_on_interrupt
from surgsam2.commands.segment import progress_bar, summarise
from surgsam2.errors import OutputError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo", help="generate a clip, segment it, print accuracy and speed"
    )
    parser.add_argument(
        "--output", default="demo-output", help="folder for everything it makes (%(default)s)"
    )
    parser.add_argument("--frames", type=int, default=60, help="length (%(default)s)")
    # of 1 to 12 the seed on which the built-in model is nearest to its means on held-out clips
    parser.add_argument("--seed", type=int, default=9, help="of the clip (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Clip and truth, then the main job on the clip, then accuracy for each kind of prompt."""
    from surgsam2.data import generate_clip, write_video, write_vos
    from surgsam2.evaluation.prompting import PROMPT_SETTINGS
    from surgsam2.evaluation.report import summary_text, write_report
    from surgsam2.evaluation.runner import ModelSpec, evaluate
    from surgsam2.job import segment_to_folder
    from surgsam2.model.build import load_model
    from surgsam2.outputs import finish_output, prepare_output
    from surgsam2.prompts import PromptSet, save_prompts
    from surgsam2.video import open_video

    _keep_other_results(Path(args.output))
    clip = generate_clip(args.seed, frames=args.frames)
    model = load_model("demo", device=args.device)
    folder = prepare_output(args.output)
    segmentation = folder / "segmentation"
    shutil.rmtree(folder / "dataset", ignore_errors=True)  # an earlier clip may be longer
    write_video(clip, folder / "clip.mp4")
    write_vos(clip, folder / "dataset", clip.name)
    prompts = PromptSet()
    for obj in clip.objects:
        first = clip.first_frame(obj.id)
        if first is not None:
            mask = clip.labels(first) == obj.id
            prompts.add(object_id=obj.id, frame=first, mask=mask, name=obj.name, color=obj.color)
    save_prompts(prompts, folder / "prompts.json")

    with (
        open_video(folder / "clip.mp4") as video,
        progress_bar() as show,
        stop_on_interrupt() as should_stop,
    ):
        report = segment_to_folder(
            model, video, prompts, segmentation, progress=show, should_stop=should_stop
        )
    summarise(report, str(segmentation))
    if report["status"] != "complete":
        return 130
    print("\nAccuracy, by the prompt on each object's first frame:")
    with ProgressBar() as progress:
        results = evaluate(
            folder / "dataset",
            prompts=list(PROMPT_SETTINGS),
            models=[ModelSpec("demo", device=args.device)],
            baselines=["copy", "flow"],
            progress=progress,
        )
    paths = write_report(results, folder / "evaluation")
    print(summary_text(results))
    finish_output(folder)
    print(
        f"\nLook at {segmentation / 'overlay.mp4'} and, in a browser, {paths['html']}.\n"
        f"The same by hand: surgsam2 segment {folder / 'clip.mp4'} "
        f"--prompts {folder / 'prompts.json'} --output OUT"
    )
    return 0


def _keep_other_results(folder: Path) -> None:
    """The demo removes what it made before in its folder, but nobody's segmentation."""
    from surgsam2.storage.label_image import LABELS
    from surgsam2.storage.output_folder import RESUME

    for name in (LABELS, "report.json", RESUME):
        if (folder / name).exists():
            raise OutputError(
                f"cannot write {folder}: it holds the results of another run ({name}); choose an "
                "empty or new folder, or one of an earlier demo"
            )
