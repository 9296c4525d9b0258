"""Which test and which experiment shows which of the 22 faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault: what happens, what must follow, the tests of `make test` that show it (a file and
    a name, or the beginning of one), and the experiments of `make faults`."""

    number: int
    what: str
    must: str
    tests: tuple[str, ...]
    experiments: tuple[str, ...] = ()


FAULTS = (
    Fault(
        1,
        "`kill -9` while a model, a cache, a catalogue or an export is saved",
        "the old file or the new one",
        (
            "faults/test_saves.py::test_kills",
            "faults/test_saves.py::test_every_write_fsync_and_rename",
            "test_files.py::test_kills_at_random_moments_leave_the_old_file_or_the_new_one",
            "test_files.py::test_kills_at_random_moments_leave_a_whole_folder_or_none",
        ),
        ("kills", "kth"),
    ),
    Fault(
        2,
        "`kill -9` in training, anywhere",
        "resumes in its phase, loses at most an epoch, ends with the same answers",
        (
            "train/test_training.py::test_a_kill_after_any_save_changes_nothing",
            "train/test_training.py::test_a_kill_from_scratch_changes_nothing",
            "test_cli.py::test_a_stopped_run_goes_on_where_it_stood",
        ),
        ("training", "resnet50"),
    ),
    Fault(
        3,
        "SIGTERM, Ctrl-C",
        "a checkpoint, and the end within 10 s; the page finishes its answers",
        (
            "test_cli.py::test_a_stopped_run_goes_on_where_it_stood",
            "train/test_interruption.py::test_a_swallowed_interruption_is_raised_again",
            "web/test_server.py::test_a_signal_ends_it_after_the_answers_at_work",
        ),
        ("stops",),
    ),
    Fault(
        4,
        "a download killed, stalled, cut, with a flipped bit, a page in its place, 5xx",
        "bounded retries, goes on where it stopped, never half a set",
        (
            "faults/test_packed.py::test_a_download_cut_or_spoiled_anywhere",
            "test_download.py::test_what_goes_wrong_for_a_moment_does_not_show",
            "test_download.py::test_what_stays_wrong_ends_with_a_remedy_and_no_file",
            "test_download.py::test_a_killed_download_goes_on_where_it_stopped",
            "test_download.py::test_a_connection_that_stalls_or_drips",
        ),
        ("cut-downloads",),
    ),
    Fault(
        5,
        "a full disk, a read-only folder, no file handles",
        "says what is needed; what was there stays as it was",
        (
            "faults/test_disk.py::test_a_full_disk",
            "faults/test_disk.py::test_a_folder_that_cannot_be_written",
            "test_files.py::test_no_space_left_on_the_device_has_a_remedy",
            "test_files.py::test_too_many_open_files_has_its_own_remedy",
            "data/test_pixels.py::test_a_full_disk_is_noticed_before_anything_is_written",
        ),
        ("kth",),
    ),
    Fault(
        6,
        "hostile archives",
        "nothing outside the folder; stops at its limits",
        (
            "data/test_archives.py::test_a_hostile_archive_leaves_nothing",
            "faults/test_packed.py::test_an_archive_cut_at_every_64th",
        ),
        ("cut-archives", "archives"),
    ),
    Fault(
        7,
        "bad data sets",
        "`flowers check` lists all of it in one pass; nothing straddles a split",
        (
            "data/test_catalogue.py::test_any_tree_is_catalogued_in_one_pass",
            "data/test_catalogue.py::test_no_group_straddles_and_shares_are_met",
            "data/test_catalogue.py::test_findings_tell_everything_in_one_pass",
            "test_cli.py::test_train_refuses_fewer_than_two_classes",
        ),
    ),
    Fault(
        8,
        "odd images, about 200 of them",
        "the answer of their plain twin, or a refusal; 2 s and 150 MB at most",
        (
            "data/test_photos.py::test_every_odd_file_is_its_plain_twin_or_refused",
            "data/test_photos.py::test_no_odd_file_takes_much_memory",
            "web/test_app.py::test_odd_files_are_their_plain_twin_or_refused_in_words",
            "faults/test_pictures.py::test_the_zoo_through_the_command_line",
        ),
        ("zoo-reader", "zoo-command", "zoo-page"),
    ),
    Fault(
        9,
        "spoiled bytes to the reader, and to the loader of models",
        "no crash, no hang, no runaway memory",
        (
            "data/test_photos.py::test_spoiled_bytes_are_read_or_refused_and_nothing_else",
            "faults/test_pictures.py::test_the_kept_reproducers",
            "faults/test_models.py::test_the_kept_reproducers",
            "faults/test_guided.py::test_what_ends_the_process_is_counted_and_kept",
        ),
        ("fuzz-reader", "fuzz-models"),
    ),
    Fault(
        10,
        "the same photo through every path",
        "the same answer within 0.01 (int8: 0.05)",
        (
            "ship/test_predictor.py::test_the_same_photos_through_every_way_in",
            "ship/test_predictor.py::test_every_file_says_the_same",
        ),
    ),
    Fault(
        11,
        "hostile model files",
        "refused with the reason before anything in them runs",
        (
            "faults/test_models.py::test_a_hostile_model_is_refused",
            "faults/test_models.py::test_a_miswired_model_never_reaches_its_runtime",
            "ship/test_predictor.py::test_a_changed_file_is_refused_before_it_is_opened",
        ),
        ("models",),
    ),
    Fault(
        12,
        "a loss that is no number, constant labels, a senseless rate",
        "stops within an epoch; the last finite checkpoint stays; no such model is saved",
        (
            "train/test_training.py::test_an_infinite_loss_stops_and_keeps_the_last",
            "faults/test_training.py::test_a_senseless_rate",
            "test_cli.py::test_train_refuses_fewer_than_two_classes",
        ),
    ),
    Fault(
        13,
        "no GPU, or one whose memory is too small",
        "a smaller batch or the CPU, and one line that says so",
        (
            "faults/test_training.py::test_a_batch_that_does_not_fit",
            "train/test_recipe.py::test_finds_a_machine_and_takes_the_precision_asked_for",
        ),
    ),
    Fault(
        14,
        "offline; wrong credentials; a cache that cannot be written",
        "works from the cache, or says what is missing; never prints a secret",
        (
            "data/test_sources.py::test_auto_paints_when_there_is_nothing_else",
            "data/test_sources.py::test_refused_credentials_are_named_and_not_told",
            "data/test_sources.py::test_a_cache_that_cannot_be_written_is_named",
            "data/test_sources.py::test_a_network_that_never_finishes_answering",
        ),
    ),
    Fault(
        15,
        "uploads beyond the limits: declared, chunked, lying, of too many parts",
        "413 or 400 within 1 s, 20 MB at most, no thread lost",
        (
            "web/test_server.py::test_uploads_beyond_the_limit_are_refused",
            "web/test_app.py::test_forms_beyond_the_limits_are_refused",
        ),
        ("too-large",),
    ),
    Fault(
        16,
        "odd file names",
        "never used as a path, never in a page",
        ("web/test_app.py::test_file_names_are_never_looked_at",),
        ("names",),
    ),
    Fault(
        17,
        "odd requests to every route",
        "no 5xx; the security headers on every answer",
        (
            "faults/test_page.py::test_odd_requests_to_every_route",
            "web/test_app.py::test_every_response_carries_the_security_headers",
        ),
        ("api",),
    ),
    Fault(
        18,
        "slow clients",
        "a healthy probe within 1 s (p99); the slow are cut",
        ("web/test_server.py::test_slow_clients_hold_nobody_up_and_are_cut",),
        ("slow",),
    ),
    Fault(
        19,
        "overload",
        "200, 429 or 503 with Retry-After for each; refusals within 250 ms (p99); flat memory",
        ("web/test_server.py::test_overload_gets_an_answer_or_a_time_to_come_back",),
        ("overload", "soak"),
    ),
    Fault(
        20,
        "health probes",
        "`/livez` answers under load; `/readyz` is 503 until the first answer and when full",
        ("web/test_app.py::test_while_the_queue_is_full_it_lives_is_not_ready",),
        ("slow", "overload"),
    ),
    Fault(
        21,
        "what strangers upload",
        "nothing of it on disk; size, format and hash alone in the log",
        (
            "web/test_app.py::test_uploads_never_reach_the_disk_and_names_never_the_log",
            "web/test_server.py::test_a_large_photo_stays_in_memory",
            "faults/test_alone.py::test_importing_any_module_asks_nobody",
        ),
    ),
    Fault(
        22,
        "eight processes in one folder",
        "one writes, the others wait or read",
        (
            "faults/test_together.py::test_eight_processes_in_one_folder",
            "test_files.py::test_eight_processes_make_it_once",
            "test_files.py::test_a_lock_falls_with_its_process_and_patience_ends",
            "data/test_pixels.py::test_of_several_processes_one_decodes",
            "data/test_sources.py::test_two_processes_share_one_download_from_kaggle",
        ),
        ("together", "trainings"),
    ),
)
