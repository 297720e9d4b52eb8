#!/bin/sh
# The whole example in one command, against the sandbox: DATABASE_URL=postgres://… ./try.sh
# Makes the table, starts the sandbox with a few accounts, brings both sides together and compares them. Needs psql.
set -eu
cd "$(dirname "$0")"
: "${DATABASE_URL:?set it to a PostgreSQL database, such as postgres://localhost/test}"
tidelock=${TIDELOCK:-tidelock}
folder=$(mktemp -d)
"$tidelock" sandbox salesforce --port 0 --json >"$folder/sandbox.json" &
sandbox=$!
trap 'kill "$sandbox"; rm -rf "$folder"' EXIT
tries=0
until [ -s "$folder/sandbox.json" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 100 ] || { echo "the sandbox does not start" >&2; exit 1; }
    sleep 0.1
done
SALESFORCE_INSTANCE_URL=$(sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' "$folder/sandbox.json")
export SALESFORCE_INSTANCE_URL DATABASE_URL
psql -q -v ON_ERROR_STOP=1 "$DATABASE_URL" -f accounts.sql
"$tidelock" check sync.json --connect
"$tidelock" run sync.json --once --state "sqlite://$folder/tidelock.db"
"$tidelock" audit sync.json --state "sqlite://$folder/tidelock.db"
