"""Files that were once misread, and the tests that hold what is right for each.

The tests make such files themselves.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from surgsam2 import open_video
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.plan import plan_tracking

FAULTS = {
    "1 labels beside the frames count as frames": (
        "video.test_images:test_several_kinds_of_names_are_a_question",
        "video.test_images:test_natural_order",
    ),
    "2 a thin mask prompt is lost in the network": (
        "tracking.test_single_frame:test_a_mask_that_was_given_is_the_result_at_full_resolution",
        "tracking.test_single_frame:test_a_mask_that_others_cover_scores_nothing",
    ),
    "3 the first track, page or picture is taken": (
        "video.test_streams:test_the_default_track_is_read_and_the_others_are_named",
        "video.test_images:test_files_of_several_pictures_are_refused",
    ),
    "4 two objects of one name are two categories": (
        "outputs.test_coco:test_two_objects_of_one_name_are_instances_of_one_category",
        "outputs.test_exports:test_coco_is_read_by_supervision",
        "outputs.test_exports:test_coco_is_read_by_datumaro",
        "job.test_job:test_classes_of_a_list",
    ),
    "5 masks whose object is not the values above 0": (
        "prompts.test_mask_values:test_a_palette_that_begins_with_white_is_looked_at",
        "prompts.test_mask_values:test_more_than_one_kind_of_pixel_is_a_question",
        "prompts.test_mask_values:test_a_label_image_prompts_all_its_objects",
    ),
    "6 a header that declares more frames than there are": (
        "video.test_itk:test_frames_that_a_dicom_file_only_declares_are_left_out",
        "video.test_dicom:test_another_number_of_frames_than_declared",
    ),
    "7 concealment that depends on where decoding begins": (
        "video.test_damage:test_concealed_frames_do_not_depend_on_where_decoding_begins",
    ),
    "8 the names of images are lost": (
        "evaluation.test_predictions:test_masks_are_matched_by_the_names_of_the_source_images",
        "outputs.test_exports:test_names_of_sources",
    ),
    "9 COCO files of other programs": (
        "results.test_coco_writers:test_two_tracks_of_one_category_in_a_file_of_cvat",
        "results.test_coco_writers:test_names_that_do_not_tell_frames",
        "results.test_coco_writers:test_categories_from_0_of_supervision",
    ),
    "10 packets that are missing in a stream": (
        "video.test_streams:test_missing_frames_are_counted_and_the_rate_is_kept",
    ),
    "11 shape of the pixels and times in the overlay": (
        "outputs.test_overlay:test_times_and_shape_of_pixels_are_kept",
    ),
    "12 boxes at the edge, a stop beyond the end, raw containers": (
        "tracking.test_single_frame:test_a_box_that_ends_at_the_frames_width_is_clipped",
        "test_file_faults:test_a_stop_beyond_the_end_is_the_end",
        "video.test_streams:test_raw_containers",
    ),
}
"""The tests of each fault, as module and function below ``tests``."""


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_tests(fault: str) -> None:
    for place in FAULTS[fault]:
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(f"tests.{module}"), name))


def test_a_stop_beyond_the_end_is_the_end() -> None:
    prompts = PromptSet().add(object_id=1, frame=0, box=[0, 0, 4, 4])
    with open_video(np.zeros((5, 6, 8, 3), np.uint8)) as video:
        assert plan_tracking(video, prompts, TrackingOptions(stop=99)).stop == 5
