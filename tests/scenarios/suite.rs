//! One test per scenario for one combination of databases.

/// Makes a module of tests: `suite!(sqlite_to_sqlite, Kind::Sqlite, Kind::Sqlite);`
macro_rules! suite {
    ($name:ident, $source:expr, $target:expr) => {
        mod $name {
            use crate::scenarios::{
                Kind, chinook, conflicts, correlation, crash, create_target, disk, emptied, explain, identifiers, live, lookup, mapping, match_on, one_way, pairs_http, plan, plugins, polling, reformat, resync, review, review_http, rollout, schema_drift, two_way,
            };

            crate::scenarios::suite::scenarios! {
                ($source, $target)
                one_way: load_and_follow, by_another_unique_field;
                two_way: converges, tracking_is_removed_on_request, a_lost_stream_stops_until_a_resync, a_pause_before_the_first_run_holds;
                conflicts: last_write_wins_by_commit_time, last_write_wins_by_timestamp_field, a_system_has_priority,
                    fields_have_rules_of_their_own, delete_against_update;
                correlation: generated_keys_are_written_back, the_reference_is_restored;
                plugins: rules_keep_records_out, computed_fields_flow_both_ways, computed_fields_are_copied_and_audited,
                    a_resolver_settles_a_conflict, replaced_all_the_while;
                match_on: records_find_each_other_once, several_wait_for_a_person, a_copy_adopts_what_is_there;
                lookup: keys_are_translated_both_ways, a_child_waits_and_holds_up_nobody, a_tree_lands_whole_child_first,
                    circles_are_untied, circles_of_two_pairs_are_untied,
                    a_copy_keeps_links_for_those_who_look_it_up, a_parent_wakes_its_children_live;
                mapping: a_field_added_later_is_filled, another_function_or_filter_is_applied;
                create_target: a_target_is_made_after_the_plan_has_shown_it, the_statement_is_exactly_what_a_run_does,
                    a_target_that_is_there_stays_as_it_is, records_may_be_born_in_a_target_that_was_made,
                    several_services_make_one_table, missing_indexes_are_told_as_statements;
                schema_drift: a_new_column_is_added_to_the_other_side, a_new_column_alone_stops_nobody,
                    a_column_that_goes_holds_the_pair_and_loses_nothing,
                    a_dropped_column_empties_nothing_and_a_person_lets_the_pair_go_on, a_change_of_type_is_compared_in_full_on_request;
                identifiers: odd_names_are_kept_in_step, names_that_a_system_does_not_take_are_refused;
                polling: both_ways;
                resync: a_resync_while_both_sides_are_edited, a_repair_while_both_sides_are_edited, one_side_wins_where_that_is_asked_for,
                    what_cannot_be_meant_is_refused;
                pairs_http: http_tells_and_switches_pairs, http_refuses_strangers_and_nonsense;
                rollout: read_only_writes_nothing_and_loses_nothing, a_share_grows_and_nothing_is_lost, a_copy_remembers_held_deletes,
                    a_filter_lets_some_through;
                emptied: an_emptied_table_empties_nothing, a_table_made_anew_empties_nothing, a_copy_is_not_emptied,
                    the_guard_is_no_hindrance, a_delete_leaves_a_mark, a_mark_taken_away_brings_the_record_back,
                    a_record_that_leaves_the_filter_stays, a_record_that_leaves_the_filter_is_deleted_on_request,
                    a_record_that_goes_back_and_forth_is_stopped;
                reformat: nothing_is_written_at_rest, a_copy_is_at_rest, forms_do_not_chase_each_other,
                    copies_that_contradict_each_other_are_stopped, copies_that_contradict_each_other_are_told;
                review: a_person_decides, at_once_with_the_configuration, a_decision_that_comes_too_late, a_newer_edit_clears_it,
                    others_flow_while_many_wait, another_try_once_the_cause_is_gone, an_ambiguous_match_is_tried_again,
                    one_way_values_hold_until_the_next_edit, a_plugin_is_replaced, a_decision_in_bulk_can_be_repeated;
                review_http: http_tells_and_decides, http_refuses_what_cannot_be_meant;
                explain: every_write_and_conflict_is_explained, what_a_crash_left_open_is_explained, a_copy_is_explained_too;
                plan: a_plan_tells_what_a_run_does, a_plan_of_a_copy, a_plan_leaves_files_alone, an_audit_repairs_what_differs;
                live: changes_travel, pause_and_resume;
                crash: at_every_durable_step, a_copy_at_every_durable_step, during_the_initial_load,
                    a_load_goes_on_where_it_was_stopped, during_ongoing_sync,
                    during_ongoing_sync_under_a_priority;
                disk: is_full;
                chinook: every_record_is_accounted_for, keep_original_and_converge;
            }
        }
    };
}

/// The same for a hub and its two spokes: `hub_suite!(sqlite_hub, Kind::Sqlite, Kind::Sqlite, Kind::Sqlite);`
macro_rules! hub_suite {
    ($name:ident, $hub:expr, $crm:expr, $desk:expr) => {
        mod $name {
            use crate::scenarios::{Kind, hub};

            crate::scenarios::suite::scenarios! {
                [$hub, $crm, $desk]
                hub: an_edit_reaches_all_the_others_once, edits_of_different_fields_survive, a_death_reaches_all_the_others_once,
                    a_conflict_between_spokes_is_settled_for_all, a_birth_reaches_all_the_others_once, families_are_the_same_everywhere,
                    changes_travel_through_the_hub_live, edits_from_all_sides_converge;
            }
        }
    };
}

/// The same for Salesforce (the sandbox) and one database: `salesforce_suite!(salesforce_to_sqlite, Kind::Sqlite);`
macro_rules! salesforce_suite {
    ($name:ident, $kind:expr) => {
        mod $name {
            use crate::scenarios::{Kind, salesforce, salesforce_cdc, salesforce_ids};

            crate::scenarios::suite::scenarios! {
                $kind
                salesforce: both_sides_are_brought_together, edits_conflicts_and_deletes_converge, a_copy_goes_by_its_external_id, refused_records_wait_and_the_others_flow, lost_answers_make_no_duplicate,
                    sessions_limits_and_locks_pass, pages_that_break_off_lose_nothing, late_commits_are_found,
                    purged_deletes_stop_the_pair, a_crash_after_creating_makes_no_duplicate, at_rest_nothing_is_written,
                    other_grants_log_in_and_wrong_ones_do_not, a_filter_lets_some_through,
                    an_edit_reaches_the_org_within_a_second;
                salesforce_ids: ids_are_written_back_and_values_settle, ids_of_fifteen_characters_are_known;
                salesforce_cdc: change_events_travel, echoes_end_and_a_triggers_change_flows, gaps_overflows_and_outages_lose_nothing,
                    a_replay_id_that_is_too_old_is_made_up_for, an_object_without_events_is_told;
            }
        }
    };
}

macro_rules! scenarios {
    ($kinds:tt $($module:ident : $($test:ident),+ ;)+) => {
        $($(
            #[tokio::test]
            async fn $test() {
                $module::$test($kinds).await;
            }
        )+)+
    };
}

pub(crate) use {hub_suite, salesforce_suite, scenarios, suite};
