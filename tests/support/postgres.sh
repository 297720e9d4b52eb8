# shellcheck shell=bash disable=SC2015,SC2154,SC2164
# A private PostgreSQL server for the tests. Sourced by tests/run; servers.sh stops what is started here.
#
# Gives the tests TIDELOCK_TEST_POSTGRES (URL of a superuser; tests make databases of their own) and, for a server that
# is not in a container, what a test needs to start, crash and restart a cluster of its own:
# TIDELOCK_TEST_POSTGRES_BIN (folder of the programs), TIDELOCK_TEST_POSTGRES_DATA (the shared server's data) and
# TIDELOCK_TEST_POSTGRES_USER (the user of this machine to run the programs as; empty: as ourselves).

postgres_oldest=13
postgres_image=postgres:17
postgres_settings=(
    -c wal_level=logical
    -c max_connections=200
    -c max_wal_senders=50
    -c max_replication_slots=50
)
# Nothing here outlives the run; benches measure a server as people run it. (Tests that crash a server start one of their own.)
postgres_unsafe=(-c fsync=off -c full_page_writes=off)
postgres_bin=""
postgres_run_as=(env)

start_postgres() {
    if ! find_postgres && can_install_debian_packages; then
        install_postgres || true
        find_postgres || true
    fi
    if [ -n "$postgres_bin" ]; then
        start_postgres_cluster
    elif can_start_containers; then
        start_postgres_container
    else
        missing "no PostgreSQL server ($postgres_oldest or newer) was found, and none can be installed from here." \
            "Debian, Ubuntu: apt-get install postgresql (tests/run does it itself as root or with passwordless sudo)" \
            "Fedora:         dnf install postgresql-server" \
            "macOS:          brew install postgresql@17" \
            "anywhere:       a running Docker engine" \
            "or put the folder that holds 'postgres' and 'initdb' on the PATH."
    fi
    say "PostgreSQL answers on ${TIDELOCK_TEST_POSTGRES##*@}"
}

# Sets postgres_bin to the folder of the newest server on this machine.
find_postgres() {
    local folder version newest=0
    local folders=(/usr/lib/postgresql/*/bin /usr/pgsql-*/bin {/opt/homebrew,/usr/local}/opt/postgresql@*/bin)
    if folder=$(command -v postgres); then folders+=("$(dirname "$folder")"); fi
    for folder in "${folders[@]}"; do
        [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && [ -x "$folder/pg_isready" ] || continue
        version=$("$folder/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        if [ "${version:-0}" -ge "$postgres_oldest" ] && [ "$version" -gt "$newest" ]; then
            newest=$version
            postgres_bin=$folder
        fi
    done
    [ -n "$postgres_bin" ]
}

# Installs Debian's package without the cluster that it would make, which nobody asked for. What this changes on the way (a
# file in /etc) is put back.
install_postgres() {
    say "Installing Debian's postgresql package (the server is started privately, not as a service)"
    local settings=/etc/postgresql-common/createcluster.conf status=0
    as_root mkdir -p /etc/postgresql-common
    [ ! -e "$settings" ] || as_root cp -p "$settings" "$settings.before-tidelock"
    echo 'create_main_cluster = false' | as_root tee -a "$settings" >/dev/null
    install_debian_server postgresql || status=$?
    if [ -e "$settings.before-tidelock" ]; then
        as_root mv "$settings.before-tidelock" "$settings"
    elif [ -e "$settings.ucf-dist" ]; then
        as_root mv "$settings.ucf-dist" "$settings"
    fi
    return "$status"
}

# PostgreSQL refuses to run as root: then it is `postgres`, the user of Debian's package, or `nobody`.
choose_postgres_user() {
    export TIDELOCK_TEST_POSTGRES_USER=""
    local run_as=()
    if [ "$(id -u)" -eq 0 ]; then
        TIDELOCK_TEST_POSTGRES_USER=postgres
        id postgres >/dev/null 2>&1 || TIDELOCK_TEST_POSTGRES_USER=nobody
        command -v setpriv >/dev/null ||
            missing "setpriv (package util-linux) is needed here, as PostgreSQL does not run as root."
        run_as+=(--reuid "$TIDELOCK_TEST_POSTGRES_USER" --regid "$(id -g "$TIDELOCK_TEST_POSTGRES_USER")" --init-groups)
    fi
    # Where the kernel can do it, the server also stops when this script is killed outright.
    if setpriv --help 2>/dev/null | grep -q -- --pdeathsig; then run_as+=(--pdeathsig INT); fi
    if [ "${#run_as[@]}" -gt 0 ]; then postgres_run_as=(setpriv "${run_as[@]}" --); fi
}

start_postgres_cluster() {
    choose_postgres_user
    local folder="$run_folder/postgres" password
    password=$(random_password)
    mkdir "$folder" "$folder/data" "$folder/socket"
    printf '%s\n' "$password" >"$folder/password"
    chmod 700 "$folder/data" "$folder/socket"
    [ -z "$TIDELOCK_TEST_POSTGRES_USER" ] || chown -R "$TIDELOCK_TEST_POSTGRES_USER" "$folder"
    cd "$folder"
    interruptible "${postgres_run_as[@]}" "$postgres_bin/initdb" --pgdata="$folder/data" --username=tidelock \
        --pwfile="$folder/password" --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync \
        >"$folder/initdb.log" 2>&1 ||
        { cat "$folder/initdb.log" >&2; missing "initdb failed, see above."; }
    rm "$folder/password"
    local attempt port
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        if launch_postgres "$folder" "$port"; then
            cd "$repository"
            export TIDELOCK_TEST_POSTGRES="postgres://tidelock:$password@127.0.0.1:$port/postgres"
            export TIDELOCK_TEST_POSTGRES_BIN="$postgres_bin" TIDELOCK_TEST_POSTGRES_DATA="$folder/data"
            say "$("$postgres_bin/postgres" --version), started privately"
            return 0
        fi
        # Only a port that was taken in the meantime is worth another try.
        grep -q 'Address already in use' "$folder/log" || break
        say "Port $port was taken before attempt $attempt could use it"
    done
    cat "$folder/log" >&2
    missing "PostgreSQL did not start, see above."
}

# Starts the server on a port and waits until it answers.
launch_postgres() { # FOLDER PORT
    local pid tenths
    set -m
    "${postgres_run_as[@]}" "$postgres_bin/postgres" -D "$1/data" -p "$2" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories="$1/socket" "${postgres_settings[@]}" ${postgres_unsafe[@]+"${postgres_unsafe[@]}"} \
        </dev/null >"$1/log" 2>&1 &
    pid=$!
    set +m
    server_started postgres "$pid" INT
    for ((tenths = 0; tenths < 600; tenths++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        "$postgres_bin/pg_isready" -q -h 127.0.0.1 -p "$2" -U tidelock && return 0
        sleep 0.1
    done
    return 1
}

start_postgres_container() {
    local password container port tenths
    password=$(random_password)
    container=$(docker run --detach --rm --publish 127.0.0.1::5432 --env POSTGRES_USER=tidelock \
        --env POSTGRES_PASSWORD="$password" --env POSTGRES_DB=postgres "$postgres_image" "${postgres_settings[@]}" \
        ${postgres_unsafe[@]+"${postgres_unsafe[@]}"}) ||
        missing "Docker could not start $postgres_image, see above."
    container_started postgres "$container"
    port=$(docker port "$container" 5432/tcp | sed -n 's/.*://p' | head -n 1)
    for ((tenths = 0; tenths < 600; tenths++)); do
        # Over TCP: during its first start the image answers on its socket only.
        if docker exec "$container" pg_isready -q -h 127.0.0.1 -U tidelock; then
            export TIDELOCK_TEST_POSTGRES="postgres://tidelock:$password@127.0.0.1:$port/postgres"
            unset TIDELOCK_TEST_POSTGRES_BIN TIDELOCK_TEST_POSTGRES_DATA TIDELOCK_TEST_POSTGRES_USER
            say "$postgres_image, started in container $container"
            return 0
        fi
        sleep 0.1
    done
    docker logs "$container" >&2 || true
    missing "PostgreSQL did not answer in its container, see above."
}
