//! The combinations with PostgreSQL, end to end.

crate::scenarios::suite::suite!(postgres_to_postgres, Kind::Postgres, Kind::Postgres);
crate::scenarios::suite::suite!(sqlite_to_postgres, Kind::Sqlite, Kind::Postgres);
crate::scenarios::suite::suite!(postgres_to_sqlite, Kind::Postgres, Kind::Sqlite);
