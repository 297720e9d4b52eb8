# shellcheck shell=bash disable=SC2015,SC2154,SC2164
# Steps of a test run: each says what it does and how long it took, and the end repeats that in a table.
# Sourced by tests/run.

step_lines=()
steps_failed=0
step_pid=""

# What this run could not look at; tests/run sets the file, and the summary repeats it.
not_checked_file=/dev/null

say() { printf '%s\n' "$*"; }
warn() { printf '\n!!! %s\n\n' "$*" >&2; }

not_checked() {
    warn "NOT CHECKED: $*"
    printf '%s\n' "$*" >>"$not_checked_file"
}

# Something the run cannot do without is missing: says so and ends with 2.
missing() {
    printf '\ntests/run cannot go on: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 2
}

# Runs a command in a process group of its own and waits for it in a way that a signal can interrupt: bash would
# otherwise hear an interrupt only after the command has ended.
interruptible() {
    local status=0
    set -m
    "$@" </dev/null &
    step_pid=$!
    set +m
    wait "$step_pid" || status=$?
    step_pid=""
    return "$status"
}

# Ends the command that `interruptible` is waiting for, with everything it started.
stop_current_step() {
    [ -n "$step_pid" ] || return 0
    kill -TERM -- "-$step_pid" 2>/dev/null || return 0
    local tenths=0
    while kill -0 -- "-$step_pid" 2>/dev/null; do
        if [ "$tenths" -ge 150 ]; then
            kill -KILL -- "-$step_pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
        tenths=$((tenths + 1))
    done
    wait "$step_pid" 2>/dev/null || true
}

record_step() { # RESULT SECONDS NAME
    local line
    line=$(printf '%-7s %5ss  %s' "$1" "$2" "$3")
    step_lines+=("$line")
    printf -- '--- %s\n' "$line"
}

# Runs one step. A failed step does not stop the run: one run shows everything that is wrong.
step() { # NAME COMMAND…
    local name=$1 began=$SECONDS status=0
    shift
    printf '\n==> %s\n' "$name"
    interruptible "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        record_step ok $((SECONDS - began)) "$name"
    else
        steps_failed=$((steps_failed + 1))
        record_step FAILED $((SECONDS - began)) "$name (exit $status)"
    fi
    return 0
}

# Runs one step in this shell, for what exports variables. It ends the run itself if it cannot do its work.
setup_step() { # NAME FUNCTION
    local began=$SECONDS
    printf '\n==> %s\n' "$1"
    "$2"
    record_step ok $((SECONDS - began)) "$1"
}

print_summary() { # EXIT-STATUS
    [ "${#step_lines[@]}" -gt 0 ] || return 0
    printf '\nSteps\n'
    printf '  %s\n' "${step_lines[@]}"
    [ ! -f "$not_checked_file" ] || sed 's/^/  NOT CHECKED: /' "$not_checked_file"
    if [ "$1" -eq 0 ]; then
        printf 'Everything asked for passed, in %ss.\n' "$SECONDS"
    else
        printf 'FAILED after %ss: %s step(s) failed, exit %s.\n' "$SECONDS" "$steps_failed" "$1"
    fi
}
