//! SQLite ↔ SQLite, end to end.

crate::scenarios::suite::suite!(sqlite_to_sqlite, Kind::Sqlite, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(sqlite_hub, Kind::Sqlite, Kind::Sqlite, Kind::Sqlite);
crate::scenarios::suite::salesforce_suite!(salesforce_to_sqlite, Kind::Sqlite);

/// Loads by jobs, crashes and rights, with one database: which one it is makes no difference to them.
mod salesforce_alone {
    use crate::scenarios::{Kind, salesforce_bulk, salesforce_crash, salesforce_rights};

    const KIND: Kind = Kind::Sqlite;

    crate::scenarios::suite::scenarios! {
        KIND
        salesforce_bulk: many_are_loaded_both_ways_by_jobs, what_a_job_does_not_finish_goes_on_without_it,
            lost_answers_of_jobs_make_no_duplicate, a_kill_while_a_job_is_at_work_makes_no_duplicate,
            a_copy_goes_by_jobs, a_job_of_a_dead_run_overwrites_nothing_newer,
            a_spoke_of_a_hub_loads_by_jobs_and_names_what_it_creates;
        salesforce_crash: at_every_durable_step, during_ongoing_sync;
        salesforce_rights: a_hidden_field_is_told_before_anything_runs, what_creates_lack_is_told_before_anything_runs,
             a_field_that_is_hidden_later_stops_the_pair_and_empties_nothing,
            rights_that_are_lost_while_it_writes_stop_the_pair, a_refresh_token_that_is_replaced_is_kept;
    }

    /// For people: `cargo nextest run --test it --run-ignored only what_loads_cost --no-capture`.
    #[tokio::test]
    #[ignore = "it measures, and takes minutes"]
    async fn what_loads_cost() {
        salesforce_bulk::what_loads_cost(KIND).await;
    }
}
