//! The combinations with PostgreSQL and MariaDB, end to end.

crate::scenarios::suite::suite!(postgres_to_postgres, Kind::Postgres, Kind::Postgres);
crate::scenarios::suite::suite!(sqlite_to_postgres, Kind::Sqlite, Kind::Postgres);
crate::scenarios::suite::suite!(postgres_to_sqlite, Kind::Postgres, Kind::Sqlite);
crate::scenarios::suite::suite!(log_to_log, Kind::PostgresLog, Kind::PostgresLog);
crate::scenarios::suite::suite!(log_to_sqlite, Kind::PostgresLog, Kind::Sqlite);
crate::scenarios::suite::suite!(postgres_to_mysql, Kind::Postgres, Kind::Mysql);
crate::scenarios::suite::suite!(mysql_to_sqlite, Kind::Mysql, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(postgres_hub, Kind::Postgres, Kind::Sqlite, Kind::Postgres);
crate::scenarios::suite::hub_suite!(sqlite_hub, Kind::Sqlite, Kind::Postgres, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(log_hub, Kind::PostgresLog, Kind::PostgresLog, Kind::Sqlite);
crate::scenarios::suite::salesforce_suite!(salesforce_to_postgres, Kind::Postgres);
