"""Segment many videos at once: on the processors of one machine, or on the machines of a cluster.

A driver gives tasks to workers. A task tracks one chunk of a video, or writes the files of a
video whose chunks are complete (`surgsam2.job.chunks`). The driver alone decides what counts: a
chunk is part of a video once the video's manifest names it. So workers may be lost at any time,
and a driver that is started again goes on from the manifests.

`segment_list` is the entry. `scheduler` decides what comes next and does no input or output;
`worker` does tasks; `local` and `ray_executor` run workers.
"""

from __future__ import annotations
