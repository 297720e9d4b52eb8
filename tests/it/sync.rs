//! SQLite ↔ SQLite, end to end.

crate::scenarios::suite::suite!(sqlite_to_sqlite, Kind::Sqlite, Kind::Sqlite);
