#!/usr/bin/env bash
# tidelock beside Bucardo 5, both ways between two PostgreSQL databases, on the same tables of the same private server: how fast a backlog
# on both sides is carried over, and how long one edit takes. Interleaved rounds, medians; ratios are the result.
#
#   apt-get install bucardo postgresql-plperl-15 postgresql   # Bucardo's own service need not run
#   cargo build --release && benches/bucardo.sh [PATH-OF-TIDELOCK]
#
# ROWS (50000) are in each table, EDITS (10000) of each side are a backlog, ROUNDS (3). Both stay started all the time; who does not have
# its turn has nothing to do.
# shellcheck disable=SC2154
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$repository"
tidelock=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/tidelock}")
rows=${ROWS:-50000} edits=${EDITS:-10000} rounds=${ROUNDS:-3} looks=${LOOKS:-40}
unset "${!PG@}"

# shellcheck source=tests/support/steps.sh
source tests/support/steps.sh
# shellcheck source=tests/support/servers.sh
source tests/support/servers.sh
# shellcheck source=tests/support/tools.sh
source tests/support/tools.sh
# shellcheck source=tests/support/postgres.sh
source tests/support/postgres.sh

[ -x "$tidelock" ] || missing "there is no $tidelock" "cargo build --release"
command -v bucardo >/dev/null || missing "Bucardo is not installed" "Debian, Ubuntu: apt-get install bucardo postgresql-plperl-15"

finish() {
    local status=$?
    trap - EXIT
    set +e
    [ -z "${service:-}" ] || { kill "$service" && wait "$service"; } 2>/dev/null
    [ -z "${server:-}" ] || bucardo_does stop >/dev/null 2>&1
    if [ -n "$run_folder" ]; then
        # One of its processes does not hear of the stop. All are where they were started.
        for process in /proc/[0-9]*; do
            [ "$(readlink "$process/cwd")" != "$run_folder" ] || [ "${process#/proc/}" = "$$" ] || kill -KILL "${process#/proc/}"
        done 2>/dev/null
        stop_servers && end_leaked_processes
        rm -rf "$run_folder"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

make_run_folder
# As people run it.
postgres_unsafe=()
start_postgres
server=${TIDELOCK_TEST_POSTGRES%/*}
address=${server##*@}
export PGPASSWORD=${server#*://*:}
PGPASSWORD=${PGPASSWORD%@*}

sql() { # DATABASE SQL
    psql -X -q -A -t -v ON_ERROR_STOP=1 "$server/$1" -c "$2"
}

# It leaves files where it is run.
bucardo_does() (
    cd "$run_folder"
    bucardo --dbhost "${address%:*}" --dbport "${address#*:}" --dbname bucardo --dbuser bucardo --dbpass "$PGPASSWORD" \
        --log-destination "$run_folder" --pid-dir "$run_folder" --quickstart "$@"
)

# Two databases for each, with the same rows. `arrived` returns when a row has this city: by the server's clock, seconds.
# `done` waits until so many rows have it.
for database in bucardo_a bucardo_b tidelock_a tidelock_b; do
    sql postgres "CREATE DATABASE $database"
    sql "$database" "
        CREATE TABLE accounts (id bigint PRIMARY KEY, name text NOT NULL, city text, balance numeric(12,2), changed timestamptz);
        INSERT INTO accounts SELECT i, 'Account ' || i, 'nowhere', i * 0.01, '2026-01-01' FROM generate_series(1, $rows) AS i;
        CREATE FUNCTION arrived(wanted bigint, said text) RETURNS float8 LANGUAGE plpgsql VOLATILE AS \$\$
        BEGIN
            FOR look IN 1..120000 LOOP
                IF EXISTS (SELECT FROM accounts WHERE id = wanted AND city = said) THEN
                    RETURN extract(epoch FROM clock_timestamp());
                END IF;
                PERFORM pg_sleep(0.0005);
            END LOOP;
            RAISE 'row % has not got % within a minute', wanted, said;
        END \$\$;
        CREATE FUNCTION done(said text, wanted bigint) RETURNS float8 LANGUAGE plpgsql VOLATILE AS \$\$
        BEGIN
            FOR look IN 1..6000 LOOP
                IF (SELECT count(*) FROM accounts WHERE city = said) = wanted THEN
                    RETURN extract(epoch FROM clock_timestamp());
                END IF;
                PERFORM pg_sleep(0.05);
            END LOOP;
            RAISE 'only % rows of % have %', (SELECT count(*) FROM accounts WHERE city = said), wanted, said;
        END \$\$;
        CREATE PROCEDURE edit(first bigint, last bigint, said text) LANGUAGE plpgsql AS \$\$
        BEGIN
            FOR i IN first..last LOOP
                SET LOCAL synchronous_commit = off;
                UPDATE accounts SET city = said WHERE id = i;
                COMMIT;
            END LOOP;
        END \$\$"
done

say "Bucardo: installing into a database of its own"
sql postgres "CREATE ROLE bucardo SUPERUSER LOGIN PASSWORD '$PGPASSWORD'"
sql postgres "CREATE DATABASE bucardo OWNER bucardo"
psql -X -q -v ON_ERROR_STOP=1 "postgres://bucardo@$address/bucardo" -f /usr/share/bucardo/bucardo.schema >"$run_folder/bucardo.schema.log" 2>&1 ||
    { tail -20 "$run_folder/bucardo.schema.log" >&2; exit 1; }
for side in a b; do
    bucardo_does add database "$side" dbname="bucardo_$side" host="${address%:*}" port="${address#*:}" user=bucardo pass="$PGPASSWORD"
done
bucardo_does add table public.accounts db=a relgroup=both
bucardo_does add sync both relgroup=both dbs=a:source,b:source
bucardo_does start >"$run_folder/bucardo.out" 2>&1

say "tidelock: both ways, by triggers"
cat >"$run_folder/sync.json" <<JSON
{"connection_name": "both", "sync_type": "bidirectional",
 "source": {"type": "postgres", "name": "a", "url": "$server/tidelock_a", "table": "accounts"},
 "target": {"type": "postgres", "name": "b", "url": "$server/tidelock_b", "table": "accounts"}}
JSON
(cd "$run_folder" && exec "$tidelock" run sync.json >"$run_folder/tidelock.log" 2>&1) &
service=$!
for tenths in $(seq 1 1200); do
    kill -0 "$service" 2>/dev/null || { cat "$run_folder/tidelock.log" >&2; exit 1; }
    ! grep -q ' live ' "$run_folder/tidelock.log" || break
    sleep 0.1
done
[ "$tenths" -lt 1200 ] || { tail "$run_folder/tidelock.log" >&2; exit 1; }

# Seconds until a backlog of both sides is on both.
backlog() { # WHOSE ROUND
    local began ended
    began=$(sql "$1_a" "SELECT extract(epoch FROM clock_timestamp())")
    sql "$1_a" "CALL edit(1, $edits, 'backlog $2')" &
    sql "$1_b" "CALL edit($edits + 1, 2 * $edits, 'backlog $2')"
    wait $!
    ended=$(for side in a b; do sql "$1_$side" "SELECT done('backlog $2', 2 * $edits)"; done | sort -n | tail -1)
    echo "$ended - $began" | bc
}

# Milliseconds from a commit to the sight of it on the other side, the median of some edits from either side.
latency() { # WHOSE ROUND
    local look from to sent seen
    for look in $(seq 1 "$looks"); do
        if [ $((look % 2)) = 0 ]; then from=a to=b; else from=b to=a; fi
        sql "$1_$to" "SELECT arrived($look, 'latency $2 $look')" >"$run_folder/seen" &
        sleep 0.2
        sent=$(sql "$1_$from" "UPDATE accounts SET city = 'latency $2 $look' WHERE id = $look; SELECT extract(epoch FROM clock_timestamp())")
        wait $!
        seen=$(cat "$run_folder/seen")
        echo "($seen - $sent) * 1000" | bc
    done | sort -n | sed -n "$(((looks + 1) / 2))p"
}

median() { tr ' ' '\n' <<<"$1" | sed '/^$/d' | sort -n | sed -n "$(((rounds + 1) / 2))p"; }

declare -A times latencies
for round in $(seq 1 "$rounds"); do
    for whose in bucardo tidelock; do
        times[$whose]+=" $(backlog "$whose" "$round")"
        latencies[$whose]+=" $(latency "$whose" "$round")"
    done
done
say ""
say "A backlog of $edits edits on each side (transactions of one row): seconds until both sides have both"
for whose in bucardo tidelock; do say "  $whose:${times[$whose]}"; done
say "  tidelock is $(echo "scale=1; $(median "${times[bucardo]}") / $(median "${times[tidelock]}")" | bc) times as fast (asked: 5)"
say "One edit, from its commit to the sight of it: milliseconds, medians of $looks"
for whose in bucardo tidelock; do say "  $whose:${latencies[$whose]}"; done
say "  tidelock takes 1/$(echo "scale=1; $(median "${latencies[bucardo]}") / $(median "${latencies[tidelock]}")" | bc) of the time (asked: 1/50)"
