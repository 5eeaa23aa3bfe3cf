"""A list on a Ray cluster of this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.options import ListOptions
from surgsam2.errors import MissingDependencyError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.places import Place
from tests.cluster.disturbed import check_a_disturbed_list
from tests.cluster.helpers import (
    PreemptedWorker,
    check_preemption,
    jobs_of,
    settings_for,
    write_list,
)


def test_without_ray(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    settings, options = settings_for(demo_checkpoint, small_config), ListOptions(executor="ray")
    jobs = jobs_of(write_list(tmp_path, ["a"]), tmp_path / "out")
    with pytest.raises(MissingDependencyError, match=r"pip install 'surgsam2\[cluster\]'"):
        segment_list(jobs, Place.of(tmp_path / "out"), settings, options)


@pytest.fixture(scope="module")
def a_cluster() -> Iterator[str]:
    """The address of a Ray cluster of this machine, with two cores."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield context.address_info["gcs_address"]
        ray.shutdown()


@pytest.fixture
def weights(demo_checkpoint: Path, small_config: Path) -> list[str]:
    """The model's checkpoint and its configuration."""
    return [str(demo_checkpoint), str(small_config)]


@pytest.mark.nightly
def test_killed_actors_and_drivers(
    a_cluster: str, a_model: SurgSAM2Model, weights: list[str], tmp_path: Path
) -> None:
    """12 videos: 2 are broken, 1 crashes; 5 kills of workers, and 1 of the driver."""
    kill, term = ("worker", signal.SIGKILL), ("worker", signal.SIGTERM)
    kills = [kill, term, ("driver", signal.SIGKILL), kill, term, kill]
    check_a_disturbed_list(a_model, weights, tmp_path, 9, 2, kills, 3, a_cluster)


def test_a_list_on_a_cluster(
    a_cluster: str, a_model: SurgSAM2Model, weights: list[str], tmp_path: Path
) -> None:
    """One video is broken, and one ends its workers."""
    check_a_disturbed_list(a_model, weights, tmp_path, 1, 1, [], 0, a_cluster)


def test_an_actor_that_is_preempted(
    a_cluster: str,
    a_model: SurgSAM2Model,
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
) -> None:
    from surgsam2.cluster.ray_executor import RayExecutor

    settings = settings_for(demo_checkpoint, small_config)
    options = ListOptions(executor="ray", address=a_cluster, workers=1)
    check_preemption(
        a_model, settings, tmp_path, lambda: RayExecutor(settings, options, PreemptedWorker)
    )
