"""`surgsam2 demo` segments a clip, a real one if it is there, and measures how good masks are."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from surgsam2.commands.arguments import add_options, read_options
from surgsam2.errors import OutputError
from surgsam2.model.options import ModelOptions

_REAL_VIDEO, _REAL_PROMPTS = "cholecystectomy_10s.mp4", "cholecystectomy_prompts.json"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo", help="segment a clip, print accuracy on a generated one and speed"
    )
    parser.add_argument(
        "--output",
        default="demo-output",
        help="folder for everything that is written (%(default)s)",
    )
    parser.add_argument(
        "--real",
        metavar="FOLDER",
        help=f"folder with a real clip, {_REAL_VIDEO} and {_REAL_PROMPTS}, which is segmented "
        "instead of the generated one",
    )
    parser.add_argument(
        "--frames", type=int, default=60, help="frames of the generated clip (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=9, help="seed of the clip (%(default)s)")
    add_options(parser, ModelOptions, "device", only=("device",))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment a clip, and print the accuracy on a generated one for each kind of prompt."""
    from surgsam2.data import generate_clip, write_video, write_vos
    from surgsam2.evaluation.prompting import PROMPT_SETTINGS
    from surgsam2.evaluation.report import summary_text, write_report
    from surgsam2.evaluation.runner import ModelSpec, evaluate
    from surgsam2.job.console import ProgressDisplay, segment_with_progress
    from surgsam2.outputs import finish_output, prepare_output
    from surgsam2.prompts import PromptSet, load_prompts, save_prompts
    from surgsam2.video import open_video

    _keep_other_results(Path(args.output))
    real = None
    if args.real:  # read first, so that a wrong folder is told before anything is written
        prompt_file = Path(args.real) / _REAL_PROMPTS
        real = Path(args.real) / _REAL_VIDEO, prompt_file, load_prompts(prompt_file)
    clip = generate_clip(args.seed, frames=args.frames)
    options = read_options(ModelOptions, args)
    model = options.load()
    folder = prepare_output(args.output)
    segmentation = folder / "segmentation"
    shutil.rmtree(
        folder / "dataset", ignore_errors=True
    )  # the clip of an earlier demo may be longer
    write_video(clip, folder / "clip.mp4")
    write_vos(clip, folder / "dataset", clip.name)
    shown, prompt_file, prompts = folder / "clip.mp4", folder / "prompts.json", PromptSet()
    for obj in clip.objects:
        first = clip.first_frame(obj.id)
        if first is not None:
            mask = clip.labels(first) == obj.id
            prompts.add(object_id=obj.id, frame=first, mask=mask, name=obj.name, color=obj.color)
    save_prompts(prompts, prompt_file)
    if real is not None:
        shown, prompt_file, prompts = real

    with open_video(shown) as video:
        report = segment_with_progress(model, video, prompts, segmentation)
    if report["status"] != "complete":
        return 130
    print("\nAccuracy on the generated clip, by the prompt on each object's first frame:")
    with ProgressDisplay(keep=False) as display:
        results = evaluate(
            folder / "dataset",
            prompts=list(PROMPT_SETTINGS),
            models=[ModelSpec("demo", device=options.device)],
            baselines=["copy", "flow"],
            progress=display.update_labelled,
        )
    paths = write_report(results, folder / "evaluation")
    print(summary_text(results))
    finish_output(folder)
    print(
        f"\nLook at {segmentation / 'overlay.mp4'} and, in a browser, {paths['html']}.\n"
        f"The same by hand: surgsam2 segment {shown} --prompts {prompt_file} --output OUT"
    )
    return 0


def _keep_other_results(folder: Path) -> None:
    """Refuse a folder with results of `surgsam2 segment`, which the demo would replace."""
    from surgsam2.storage.label_image import LABELS
    from surgsam2.storage.output_folder import RESUME

    for name in (LABELS, "report.json", RESUME):
        if (folder / name).exists():
            raise OutputError(
                f"cannot write {folder}: it holds the results of another run ({name}); choose an "
                "empty or new folder, or one of an earlier demo"
            )
