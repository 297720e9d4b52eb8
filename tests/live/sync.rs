//! The combinations with PostgreSQL and MariaDB, end to end.

crate::scenarios::suite::suite!(postgres_to_postgres, Kind::Postgres, Kind::Postgres);
crate::scenarios::suite::suite!(sqlite_to_postgres, Kind::Sqlite, Kind::Postgres);
crate::scenarios::suite::suite!(postgres_to_sqlite, Kind::Postgres, Kind::Sqlite);
crate::scenarios::suite::suite!(log_to_sqlite, Kind::PostgresLog, Kind::Sqlite);
crate::scenarios::suite::suite!(postgres_to_mysql, Kind::Postgres, Kind::Mysql);
crate::scenarios::suite::suite!(mysql_to_sqlite, Kind::Mysql, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(postgres_hub, Kind::Postgres, Kind::Sqlite, Kind::Postgres);
crate::scenarios::suite::hub_suite!(sqlite_hub, Kind::Sqlite, Kind::Postgres, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(log_hub, Kind::PostgresLog, Kind::PostgresLog, Kind::Sqlite);
crate::scenarios::suite::salesforce_suite!(salesforce_to_postgres, Kind::Postgres);

/// What depends on how changes are seen on both sides at once: echoes, kills, edits of both. `log_to_sqlite` has the rest.
mod log_to_log {
    use crate::scenarios::{
        Kind, conflicts, correlation, crash, emptied, live, reformat, resync, rollout, schema_drift, two_way,
    };

    crate::scenarios::suite::scenarios! {
        (Kind::PostgresLog, Kind::PostgresLog)
        two_way: converges, tracking_is_removed_on_request, a_lost_stream_stops_until_a_resync, a_pause_before_the_first_run_holds;
        conflicts: last_write_wins_by_commit_time, a_system_has_priority, delete_against_update;
        correlation: generated_keys_are_written_back, the_reference_is_restored;
        schema_drift: a_column_that_goes_holds_the_pair_and_loses_nothing;
        resync: a_resync_while_both_sides_are_edited;
        rollout: a_share_grows_and_nothing_is_lost;
        emptied: an_emptied_table_empties_nothing, a_delete_leaves_a_mark, a_record_that_goes_back_and_forth_is_stopped;
        reformat: nothing_is_written_at_rest, forms_do_not_chase_each_other;
        live: changes_travel, pause_and_resume;
        crash: at_every_durable_step, during_the_initial_load, during_ongoing_sync, during_ongoing_sync_under_a_priority;
    }
}

/// What depends on how changes are seen: `mysql_to_sqlite` has the rest.
mod binlog_to_sqlite {
    use crate::scenarios::{Kind, conflicts, crash, emptied, live, one_way, resync, rollout, schema_drift, two_way};

    crate::scenarios::suite::scenarios! {
        (Kind::MysqlLog, Kind::Sqlite)
        one_way: load_and_follow;
        two_way: converges, tracking_is_removed_on_request, a_lost_stream_stops_until_a_resync;
        conflicts: last_write_wins_by_commit_time;
        schema_drift: a_column_that_goes_holds_the_pair_and_loses_nothing;
        resync: a_resync_while_both_sides_are_edited;
        rollout: a_share_grows_and_nothing_is_lost;
        emptied: an_emptied_table_empties_nothing;
        live: pause_and_resume;
        crash: at_every_durable_step;
    }
}

/// Echoes, kills and edits of both sides, where both are logs.
mod binlog_to_binlog {
    use crate::scenarios::{Kind, conflicts, correlation, crash, live, reformat, two_way};

    crate::scenarios::suite::scenarios! {
        (Kind::MysqlLog, Kind::MysqlLog)
        two_way: converges;
        conflicts: delete_against_update;
        correlation: generated_keys_are_written_back;
        reformat: nothing_is_written_at_rest;
        live: changes_travel;
        crash: during_the_initial_load, during_ongoing_sync_under_a_priority;
    }
}

/// What cuts a collection, at loads.
mod by_ranges {
    use crate::scenarios::{Kind, ranges};

    crate::scenarios::suite::scenarios! {
        (Kind::Postgres, Kind::Postgres)
        ranges: a_copy_goes_on_in_its_ranges, both_sides_go_on_in_their_ranges, fewer_writers_finish_what_more_began;
    }
}

mod by_ranges_of_mysql {
    use crate::scenarios::{Kind, ranges};

    crate::scenarios::suite::scenarios! {
        (Kind::Mysql, Kind::Sqlite)
        ranges: a_copy_goes_on_in_its_ranges, both_sides_go_on_in_their_ranges;
    }
}
