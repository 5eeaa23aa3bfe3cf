"""`surgsam2 review` shows which frames of a run a person should look at."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """\
examples:
  surgsam2 review OUT
  surgsam2 review OUT --low-iou 0.5
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `review`."""
    from surgsam2.results.thresholds import Thresholds

    usual = Thresholds()
    parser = subparsers.add_parser(
        "review",
        help="list the doubtful frames of a run, and show them on a page",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("output", help="output folder of surgsam2 segment")
    parser.add_argument("--page", help="HTML file to write (review.html in the folder)")
    limits = parser.add_argument_group("limits beyond which a frame is doubtful")
    limits.add_argument(
        "--low-iou", type=float, default=usual.low_iou,
        help="lowest predicted IoU of a visible object, 0 to 1 (%(default)s)",
    )  # fmt: skip
    limits.add_argument(
        "--area-factor", type=float, default=usual.area_factor,
        help="largest factor between the areas of neighbouring frames (%(default)s)",
    )  # fmt: skip
    limits.add_argument(
        "--position-jump", type=float, default=usual.position_jump,
        help="largest move of the centroid between neighbouring frames, in sizes of the object "
        "(%(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the review and write its page."""
    from surgsam2.job.review import PAGE, review_output, write_page
    from surgsam2.results.thresholds import Thresholds
    from surgsam2.storage.text import one_line

    limits = Thresholds(
        low_iou=args.low_iou, area_factor=args.area_factor, position_jump=args.position_jump
    )
    review = review_output(args.output, limits)
    for summary in review.objects:
        print(one_line(summary))
    for stretch in review.stretches:
        several = stretch.last > stretch.first
        frames = f"frames {stretch.first}-{stretch.last}" if several else f"frame {stretch.first}"
        reasons = ", ".join(reason.value for reason in stretch.reasons)
        print(one_line(f"{frames}: {review.name(stretch.object_id)}, {reasons}"))
    if not review.stretches:
        print("no frame is doubtful within these limits")
    page = Path(args.page) if args.page else Path(args.output) / PAGE
    write_page(review, page)
    print(one_line(f"page: {page}"))
    return 0
