//! SQLite ↔ SQLite, end to end.

crate::scenarios::suite::suite!(sqlite_to_sqlite, Kind::Sqlite, Kind::Sqlite);
crate::scenarios::suite::hub_suite!(sqlite_hub, Kind::Sqlite, Kind::Sqlite, Kind::Sqlite);
crate::scenarios::suite::salesforce_suite!(salesforce_to_sqlite, Kind::Sqlite);
