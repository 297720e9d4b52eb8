# shellcheck shell=bash disable=SC2015,SC2154,SC2164,SC2013,SC2086
# The folder of a test run and the servers in it: started here, stopped here by their id, and looked for afterwards.
# Sourced by tests/run. Each kind of server has a file of its own beside this one (postgres.sh), which calls
# `server_started` or `container_started` and nothing else of the bookkeeping.

run_folder=""
run_prefix="${TMPDIR:-/tmp}/tidelock-test"

# When a process was started: tells it from a later one with the same id. Nothing for one that has ended, even if nobody
# has waited for it yet.
start_of_process() { # PID
    if [ -r "/proc/$1/stat" ]; then
        sed 's/.*) //' "/proc/$1/stat" | awk '$1 != "Z" { print $20 }'
    else
        LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null | tr -s ' '
    fi
}

command_of_process() { # PID
    if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' <"/proc/$1/cmdline"; else ps -o command= -p "$1"; fi
}

# Whether the process noted in FILE (its id and start) still runs.
noted_process_runs() { # FILE
    local pid started now
    { read -r pid && read -r started; } <"$1" 2>/dev/null || return 1
    now=$(start_of_process "$pid" 2>/dev/null) || return 1
    [ -n "$now" ] && [ "$now" = "$started" ]
}

note_process() { # FILE PID
    # In one move: another run may be reading it.
    printf '%s\n%s\n' "$2" "$(start_of_process "$2")" >"$1.new"
    mv "$1.new" "$1"
}

make_run_folder() {
    run_folder=$(mktemp -d "$run_prefix.XXXXXX")
    # A server that refuses to run as root runs as another user, who has to reach its own folder in here.
    chmod 711 "$run_folder"
    mkdir "$run_folder/servers" "$run_folder/tmp"
    chmod 1777 "$run_folder/tmp"
    note_process "$run_folder/owner" "$$"
    # Whatever is started below inherits this mark, so that it can be found if it outlives the run.
    export TIDELOCK_TEST_RUN="$run_folder"
    export TMPDIR="$run_folder/tmp"
}

server_started() { # NAME PID STOP-SIGNAL
    note_process "$run_folder/servers/$1" "$2"
    printf '%s\n' "$3" >"$run_folder/servers/$1.signal"
}

container_started() { # NAME CONTAINER-ID
    printf '%s\n' "$2" >"$run_folder/servers/$1.container"
}

# Stops what this run started: politely, then not.
stop_servers() {
    local file pid tenths
    for file in "$run_folder"/servers/*.container; do
        [ -e "$file" ] || continue
        docker rm --force "$(cat "$file")" >/dev/null || true
    done
    for file in "$run_folder"/servers/*.signal; do
        [ -e "$file" ] || continue
        noted_process_runs "${file%.signal}" || continue
        read -r pid <"${file%.signal}"
        kill -s "$(cat "$file")" "$pid" 2>/dev/null || true
        tenths=0
        while noted_process_runs "${file%.signal}" && [ "$tenths" -lt 300 ]; do
            sleep 0.1
            tenths=$((tenths + 1))
        done
        [ "$tenths" -lt 300 ] || kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    return 0
}

# The ids of processes that carry the mark of a run. Only Linux shows it.
processes_marked() { # [RUN-FOLDER]
    local environ
    for environ in $(TIDELOCK_TEST_RUN='' grep -lzs "^TIDELOCK_TEST_RUN=${1:-/}" /proc/[0-9]*/environ 2>/dev/null); do
        environ=${environ#/proc/}
        printf '%s\n' "${environ%/environ}"
    done
}

# After the end: nothing that this run started may be left. Ends what is, and fails.
end_leaked_processes() {
    local pid tenths=0
    while [ -n "$(processes_marked "$run_folder")" ] && [ "$tenths" -lt 50 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    local leaked
    leaked=$(processes_marked "$run_folder")
    [ -n "$leaked" ] || return 0
    warn "These processes outlived the tests that started them:"
    for pid in $leaked; do
        printf '    %s  %s\n' "$pid" "$(command_of_process "$pid")" >&2
        kill -KILL "$pid" 2>/dev/null || true
    done
    return 1
}

# Before the start: a server that an earlier run left behind fails this one, so that a leak is seen and not lived with.
refuse_leaks_of_earlier_runs() {
    local folder file pid mark leaked=""
    for folder in "$run_prefix".*; do
        [ -f "$folder/owner" ] && [ -O "$folder/owner" ] || continue
        noted_process_runs "$folder/owner" && continue
        local alive=""
        for file in "$folder"/servers/*.signal; do
            [ -e "$file" ] && noted_process_runs "${file%.signal}" || continue
            read -r pid <"${file%.signal}"
            alive="$alive $pid"
        done
        for file in "$folder"/servers/*.container; do
            [ -e "$file" ] && docker inspect "$(cat "$file")" >/dev/null 2>&1 || continue
            warn "An earlier run left a container: docker rm --force $(cat "$file")"
            alive="$alive container"
        done
        leaked="$leaked$alive"
        [ -n "$alive" ] || rm -rf "$folder"
    done
    for pid in $(processes_marked); do
        mark=$(TIDELOCK_TEST_RUN='' grep -zs '^TIDELOCK_TEST_RUN=' "/proc/$pid/environ" | tr -d '\0') || continue
        noted_process_runs "${mark#*=}/owner" || leaked="$leaked $pid"
    done
    [ -n "$leaked" ] || return 0
    warn "An earlier run of tests/run left these behind; end them by their id and find out why:"
    for pid in $(printf '%s\n' $leaked | sort -u); do
        [ "$pid" = container ] || printf '    kill %s  # %s\n' "$pid" "$(command_of_process "$pid")" >&2
    done
    exit 1
}

# A free port of the loopback address, asked from the kernel. Another program may take it before it is used: retry then.
free_port() {
    [ -x "$run_folder/free_port" ] ||
        rustc --edition 2024 -o "$run_folder/free_port" "$repository/tests/support/free_port.rs" >&2
    "$run_folder/free_port"
}

random_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# Runs a command as root: directly, or where sudo asks for no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install_debian_packages() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

can_start_containers() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1
}

# Installs a package of Debian whose service, which nobody asked for, is not to be started. What this changes on the way (a
# file in /usr/sbin) is put back.
install_debian_server() { # PACKAGE
    local policy=/usr/sbin/policy-rc.d made_policy="" status=0
    if [ ! -e "$policy" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    interruptible as_root apt-get update -q || true
    interruptible as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "$1" || status=$?
    [ -z "$made_policy" ] || as_root rm -f "$policy"
    return "$status"
}
