"""`surgsam2 merge` joins the summaries of the parts of a list."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `merge`."""
    parser = subparsers.add_parser(
        "merge", help="join the summaries of runs with segment --datalist --shard"
    )
    parser.add_argument("output", help="the output folder of the runs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Join the summaries; return 0 if every video is complete, else 2."""
    from surgsam2.cluster.summary import join_summaries
    from surgsam2.storage.places import Place
    from surgsam2.storage.text import one_line

    folder = Place.of(args.output)
    summary = join_summaries(folder)
    rows = summary["videos"]
    complete = sum(row["status"] == "complete" for row in rows)
    print(f"{summary['status']}: {complete} of {len(rows)} videos complete; see {folder}")
    for row in rows:
        if row["status"] in ("failed", "quarantined"):
            print(one_line(f"{row['output']}: {row['status']}: {row.get('error', '')}"))
    return 0 if complete == len(rows) else 2
