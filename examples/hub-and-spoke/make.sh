#!/bin/sh
# Makes the three databases anew.
set -eu
cd "$(dirname "$0")"
for name in hub shop support; do
    rm -f "$name.db" "$name.db-wal" "$name.db-shm"
    sqlite3 "$name.db" <"$name.sql"
done
rm -f tidelock.db tidelock.db-wal tidelock.db-shm tidelock.db.lock
