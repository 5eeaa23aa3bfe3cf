"""What a campaign found about security and reliability, and the tests that hold its mending.

The numbers are those of the campaign's list; what was of low weight has none.
"""

from __future__ import annotations

import importlib

import pytest

from surgsam2.errors import (
    LONGEST_MESSAGE,
    ImageFileError,
    InputError,
    OutputError,
    SurgSAM2Error,
    VideoError,
)

FINDINGS = {
    "1 a configuration runs commands, opens files, asks for memory": (
        "model.test_builder:test_an_escaped_interpolation_runs_nothing",
        "model.test_builder:test_a_hostile_bundle_in_the_commands",
        "model.test_builder:test_a_file_of_weights_is_not_opened",
        "model.test_builder:test_a_network_that_is_too_large",
    ),
    "2 scenes write anywhere and end the interpreter": (
        "mrml.test_hostile_scenes:test_members_stay_in_their_folder",
        "mrml.test_hostile_scenes:test_links_are_not_followed",
        "mrml.test_hostile_scenes:test_cut_masks_do_not_end_the_process",
    ),
    "2 a scene chooses the folder for masks": (
        "mrml.test_streaming:test_a_scene_cannot_choose_another_folder_for_masks",
    ),
    "3 a label image starts Ghostscript": (
        "storage.test_image_file:test_postscript_with_the_name_of_a_png_starts_nothing",
        "storage.test_image_file:test_a_png_of_few_bytes_and_many_pixels_is_refused_at_once",
        "storage.test_image_file:test_pillow_and_opencv_are_called_nowhere_else",
    ),
    "4 a COCO file ends the interpreter or invents masks": (
        "results.test_coco_file:test_a_hostile_file_does_not_end_the_interpreter",
        "results.test_coco_file:test_what_no_video_has_is_refused",
        "results.test_coco_file:test_masks_of_another_size_than_the_video_are_refused_undecoded",
    ),
    "5 NRRD and MHA crash, corrupt memory or hang": (
        "video.test_header_check:test_any_header_is_refused_in_words_or_read",
        "video.test_header_check:test_small_files_that_unpack_to_gigabytes_are_refused",
    ),
    "6 the frame index of the resume record lies outside the checksum": (
        "storage.test_disk_store:test_damage_to_a_kept_file_is_told",
        "storage.test_disk_store:test_a_frame_index_beyond_every_video_is_damage",
    ),
    "7 resuming follows links out of the folder": (
        "reliability.test_resume:test_a_linked_resume_folder_is_refused",
        "storage.test_output_folder:test_a_linked_file_of_an_earlier_run_is_refused",
    ),
    "8 two runs mix when the folder is renamed or removed": (
        "reliability.test_disk:test_the_folder_is_renamed_and_its_name_used_again",
        "reliability.test_disk:test_the_folder_vanishes",
    ),
    "9 file names stay in reports after failures": (
        "job.test_names:test_a_report_after_a_failure_names_no_file",
    ),
    "9 temporary files stay after signals": (
        "outputs.test_scene_stopped:test_a_signal_leaves_no_temporary_files",
        "commands.test_interruptions:test_sigterm_ends_any_command_as_ctrl_c_does",
        "storage.test_temporary:test_what_a_killed_process_left_is_removed",
    ),
    "10 memory shortage gives tracebacks or blames the file": (
        "reliability.test_shortage:test_a_command_says_it_in_one_line",
        "reliability.test_shortage:test_a_sound_image_is_not_called_damaged",
    ),
    "11 a refused thread hangs the process": (
        "reliability.test_shortage:test_a_refused_thread_leaves_none_waiting",
    ),
    "12 small files cost too much": (
        "prompts.test_prompts:test_a_frame_that_is_repeated_often_takes_linear_time",
        "storage.test_yaml_file:test_refused_at_once",
    ),
    "13 a fork after use deadlocks": ("reliability.test_shortage:test_forked_after_use",),
    "dates and nesting in YAML": (
        "storage.test_yaml_file:test_dates_stay_text",
        "model.test_builder:test_crafted_files_are_refused_in_one_line",
    ),
    "_partial_ in configurations": ("model.test_builder:test_other_keys_are_refused",),
    "deep JSON": ("storage.test_json_text:test_refused",),
    "resume states with a right checksum": (
        "reliability.test_resume:test_a_made_up_state_with_a_right_checksum_is_refused",
    ),
    "non-text in the records of scenes": ("mrml.test_streaming:test_a_damaged_record_is_told",),
    "no usable temporary folder": (
        "storage.test_disk_store:test_no_folder_for_temporary_files_is_said_in_one_line",
        "storage.test_temporary:test_no_place",
        "engine.test_endings:test_no_temporary_folder",
    ),
    "messages of 12 kB": (
        "reliability.test_findings:test_every_message_is_bounded",
        "model.test_builder:test_messages_stay_short",
    ),
    "memory for strangers before the token is checked": (
        "engine.test_protocol:test_a_stranger_cannot_send_much",
    ),
    "links in a bundle that is packed": (
        "export.test_bundle_folder:test_a_link_in_a_bundle_is_not_packed",
    ),
    "a stopped worker gives no event": ("engine.test_endings:test_stopped_and_going_on",),
    "the limit on pixels holds for the first frame only": (
        "reliability.test_hostile:test_a_frame_that_is_larger_than_the_first",
    ),
    "escape sequences reach the terminal": (
        "storage.test_text:test_a_terminal_obeys_nothing",
        "commands.test_refusals:test_an_error_does_not_command_the_terminal",
    ),
    "formulas reach tables": (
        "outputs.test_table:test_no_cell_is_a_formula",
        "storage.test_text:test_a_spreadsheet_finds_no_formula",
    ),
    "lists write and delete outside their folder": (
        "job.test_datalist:test_outputs_that_are_refused",
        "cluster.test_restart:test_a_folder_with_links_is_refused",
        "cluster.test_restart:test_chunks_that_lead_out_of_the_folder_are_no_chunks",
    ),
    "passwords and signatures of addresses in messages": (
        "cluster.test_places:test_secrets_of_addresses_are_not_shown",
    ),
    "the cache of a server deletes files of others": (
        "engine.remote.test_server_parts:test_a_cache_removes_its_own_videos_alone",
    ),
    "sessions that end while a client comes back": (
        "engine.remote.test_server_parts:test_a_session_that_has_ended_takes_no_connection",
        "engine.remote.test_server_parts:test_pieces_of_two_connections_keep_their_order",
    ),
    "crafted requests to the page and to CVAT": (
        "fuzz.test_corpus:test_the_corpus",
        "annotate.test_project:test_objects_are_bounded",
        "annotate.test_server:test_pages_of_two_ports_keep_their_cookies",
    ),
    "a closed pipe gives a traceback": (
        "commands.test_interruptions:test_a_reader_that_has_gone_ends_a_command_quietly",
    ),
    "summaries and records of another shape": (
        "cluster.test_summary:test_a_summary_of_another_shape_is_one_line",
        "benchmark.test_report:test_another_json_is_refused",
        "storage.test_shape:test_wrong_shapes",
    ),
}
"""The tests of each finding, as module and function below ``tests``."""


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_has_its_tests(finding: str) -> None:
    for place in FINDINGS[finding]:
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(f"tests.{module}"), name)), place


@pytest.mark.parametrize(
    "error",
    [
        SurgSAM2Error("a" * 12_000 + "z"),
        InputError("a" * 12_000 + "z"),
        OutputError("a" * 12_000 + "z"),
        VideoError("a" * 12_000 + "z"),
        ImageFileError("a" * 12_000 + "z", "a.png"),
    ],
)
def test_every_message_is_bounded(error: SurgSAM2Error) -> None:
    assert len(str(error)) <= LONGEST_MESSAGE
    assert str(error).endswith("z")
    assert str(InputError("short")) == "short"
