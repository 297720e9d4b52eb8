# shellcheck shell=bash disable=SC2015,SC2154,SC2164
# A private MariaDB server for the tests, or one of MySQL. Sourced by tests/run; servers.sh stops what is started here.
#
# Gives the tests TIDELOCK_TEST_MYSQL (URL of a user who may do everything; tests make databases of their own) and, for a server that
# a test starts itself, to kill it or to do away with its log: TIDELOCK_TEST_MYSQL_SERVER (the program), TIDELOCK_TEST_MYSQL_PRISTINE
# (a folder of data to copy, and init.sql), TIDELOCK_TEST_MYSQL_USER (the user of this machine to run it as; empty: as ourselves).
# TIDELOCK_TEST_MYSQL_MAKE says whose server it is: MariaDB or MySQL.

mariadb_image=mariadb:10.11
mysql_settings=(
    --character-set-server=utf8mb4
    --skip-name-resolve
    --max-connections=400
    --server-id=1
    --log-bin=binlog
    --binlog-format=ROW
)
mariadb_settings=(--collation-server=utf8mb4_general_ci)
# Nothing here outlives the run.
mysql_unsafe=(--innodb-flush-log-at-trx-commit=0 --sync-binlog=0 --innodb-buffer-pool-size=64M)
mysql_server=""
mysql_run_as=(env)

start_mariadb() {
    export TIDELOCK_TEST_MYSQL_MAKE=MariaDB
    if ! find_mariadb && can_install_debian_packages; then
        say "Installing Debian's mariadb-server package (the server is started privately, not as a service)"
        install_debian_server mariadb-server || true
        find_mariadb || true
    fi
    if [ -n "$mysql_server" ]; then
        start_mysql_server mariadb "${mariadb_settings[@]}"
    elif can_start_containers; then
        start_mariadb_container
    else
        missing "no MariaDB server was found, and none can be installed from here." \
            "Debian, Ubuntu: apt-get install mariadb-server (tests/run does it itself as root or with passwordless sudo)" \
            "Fedora:         dnf install mariadb-server" \
            "macOS:          brew install mariadb" \
            "anywhere:       a running Docker engine" \
            "or put the folders that hold 'mariadbd' and 'mariadb-install-db' on the PATH."
    fi
    say "MariaDB answers on ${TIDELOCK_TEST_MYSQL##*@}"
}

# MySQL's own: of this machine, or fetched. Fails where there is none.
start_mysql() {
    local candidate
    mysql_server=""
    for candidate in "$(command -v mysqld || true)" /usr/sbin/mysqld; do
        # MariaDB's has that name, too.
        if [ -x "$candidate" ] && ! "$candidate" --no-defaults --version | grep -q MariaDB; then
            mysql_server=$candidate
            break
        fi
    done
    [ -n "$mysql_server" ] || fetch_mysql || return 1
    export TIDELOCK_TEST_MYSQL_MAKE=MySQL
    start_mysql_server mysql --mysqlx=OFF
    say "MySQL answers on ${TIDELOCK_TEST_MYSQL##*@}"
}

# Where a run is about MySQL and nothing else.
start_mysql_alone() {
    start_mysql ||
        missing "no MySQL server was found, and none can be fetched from here (Debian, from its unstable suite)." \
            "Put the folder that holds MySQL's 'mysqld' on the PATH."
}

# Sets mysql_server to the server program of this machine.
find_mariadb() {
    local candidate
    for candidate in "$(command -v mariadbd || true)" /usr/sbin/mariadbd {/opt/homebrew,/usr/local}/bin/mariadbd; do
        if [ -x "$candidate" ] && [ -n "$(mariadb_installer "$candidate")" ]; then
            mysql_server=$candidate
            return 0
        fi
    done
    return 1
}

# The program that makes a data folder, beside the server or on the PATH.
mariadb_installer() { # SERVER
    local candidate
    for candidate in "$(command -v mariadb-install-db || true)" "$(dirname "$1")/mariadb-install-db"; do
        if [ -x "$candidate" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
}

start_mysql_server() { # NAME [SETTING…]
    local name=$1 folder="$run_folder/$1" password user=""
    shift
    password=$(random_password)
    mkdir "$folder" "$folder/data"
    # As root it is `mysql`, the user of Debian's package, or `nobody`.
    if [ "$(id -u)" -eq 0 ]; then
        user=mysql
        id mysql >/dev/null 2>&1 || user=nobody
        command -v setpriv >/dev/null || missing "setpriv (package util-linux) is needed here, to run $name as $user."
        mysql_run_as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups)
        # Where the kernel can do it, the server also stops when this script is killed outright.
        if setpriv --help 2>/dev/null | grep -q -- --pdeathsig; then mysql_run_as+=(--pdeathsig TERM); fi
        mysql_run_as+=(--)
    fi
    # The server reads one statement a line.
    printf "CREATE USER tidelock@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO tidelock@'%%' WITH GRANT OPTION;\n" \
        "$password" >"$folder/init.sql"
    chmod 700 "$folder"
    [ -z "$user" ] || chown -R "$user" "$folder"
    export TIDELOCK_TEST_MYSQL_USER="$user" TIDELOCK_TEST_MYSQL_SERVER="$mysql_server" TIDELOCK_TEST_MYSQL_PRISTINE="$folder/pristine"
    cd "$folder"
    local install=("$mysql_server" --no-defaults --initialize-insecure)
    [ "$name" = mysql ] || install=("$(mariadb_installer "$mysql_server")" --no-defaults --auth-root-authentication-method=normal --skip-test-db)
    interruptible "${mysql_run_as[@]}" "${install[@]}" --datadir="$folder/data" >"$folder/install.log" 2>&1 ||
        { cat "$folder/install.log" >&2; missing "the data of a $name server could not be made, see above."; }
    # Each server is to find a name of its own.
    rm -f "$folder/data/auto.cnf"
    mkdir "$folder/pristine"
    cp -a "$folder/data" "$folder/init.sql" "$folder/pristine/"
    local attempt port
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        if launch_mysql "$name" "$port" "$@"; then
            cd "$repository"
            export TIDELOCK_TEST_MYSQL="mysql://tidelock:$password@127.0.0.1:$port/mysql"
            say "$("$mysql_server" --no-defaults --version), started privately"
            return 0
        fi
        # Only a port that was taken in the meantime is worth another try.
        grep -q 'Address already in use' "$folder/log" || break
        say "Port $port was taken before attempt $attempt could use it"
    done
    cat "$folder/log" >&2
    missing "$name did not start, see above."
}

# Starts the server on a port and waits until it says that it is ready.
launch_mysql() { # NAME PORT [SETTING…]
    local name=$1 port=$2 folder="$run_folder/$1" pid tenths
    shift 2
    set -m
    "${mysql_run_as[@]}" "$mysql_server" --no-defaults --datadir="$folder/data" --port="$port" --bind-address=127.0.0.1 \
        --socket="$folder/socket" --pid-file="$folder/pid" --init-file="$folder/init.sql" "${mysql_settings[@]}" "${mysql_unsafe[@]}" "$@" \
        </dev/null >"$folder/log" 2>&1 &
    pid=$!
    set +m
    server_started "$name" "$pid" TERM
    for ((tenths = 0; tenths < 600; tenths++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        grep -q 'ready for connections' "$folder/log" && return 0
        sleep 0.1
    done
    return 1
}

start_mariadb_container() {
    local password container port tenths
    password=$(random_password)
    container=$(docker run --detach --rm --publish 127.0.0.1::3306 --env MARIADB_ROOT_PASSWORD="$password" \
        "$mariadb_image" "${mysql_settings[@]}" "${mariadb_settings[@]}") || missing "Docker could not start $mariadb_image, see above."
    container_started mariadb "$container"
    port=$(docker port "$container" 3306/tcp | sed -n 's/.*://p' | head -n 1)
    for ((tenths = 0; tenths < 600; tenths++)); do
        # Over TCP: during its first start the image answers on its socket only.
        if docker exec "$container" mariadb-admin ping -h 127.0.0.1 -uroot -p"$password" >/dev/null 2>&1; then
            export TIDELOCK_TEST_MYSQL="mysql://root:$password@127.0.0.1:$port/mysql"
            say "$mariadb_image, started in container $container"
            return 0
        fi
        sleep 0.1
    done
    docker logs "$container" >&2 || true
    missing "MariaDB did not answer in its container, see above."
}
