# shellcheck shell=bash disable=SC2154
# The sandboxes, held against clients that other people wrote. Sourced by tests/run.
#
# The clients come from package registries into TIDELOCK_CACHE, nothing is installed. One that cannot be had is said loudly, and fails CI.

simple_salesforce_version=1.12.10
jsforce_version=3.10.16
pubsub_client_version=5.5.2

provision_simple_salesforce() {
    local tools="$TIDELOCK_CACHE/simple-salesforce-$simple_salesforce_version"
    if ! "$tools/bin/python" -c 'import simple_salesforce' 2>/dev/null; then
        { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet "simple-salesforce==$simple_salesforce_version"; } >&2 || return 1
    fi
    printf '%s\n' "$tools/bin/python"
}

provision_jsforce() {
    local tools="$TIDELOCK_CACHE/jsforce-$jsforce_version"
    [ -d "$tools/node_modules/jsforce" ] ||
        npm install --silent --no-audit --no-fund --prefix "$tools" "jsforce@$jsforce_version" >&2 || return 1
    printf '%s\n' "$tools/node_modules"
}

provision_pubsub_client() {
    local tools="$TIDELOCK_CACHE/salesforce-pubsub-api-client-$pubsub_client_version"
    # It imports underscore without saying so.
    [ -d "$tools/node_modules/salesforce-pubsub-api-client" ] ||
        npm install --silent --no-audit --no-fund --prefix "$tools" "salesforce-pubsub-api-client@$pubsub_client_version" underscore >&2 || return 1
    printf '%s\n' "$tools/node_modules/salesforce-pubsub-api-client/dist/client.js"
}

# Every client gets a sandbox of its own: they move its clock and end its sessions.
with_salesforce_sandbox() { # COMMAND…
    local tidelock said="$run_folder/sandbox.json" process addresses tenths=0 status=0
    tidelock="$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)/debug/tidelock"
    "$tidelock" sandbox salesforce --port 0 --json >"$said" &
    process=$!
    while [ ! -s "$said" ] && [ "$tenths" -lt 100 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    mapfile -t addresses < <(python3 -c 'import json, sys; said = json.load(sys.stdin); print(said["url"], said["pubsub_endpoint"], sep="\n")' <"$said")
    timeout 120 "$@" "${addresses[@]}" || status=$?
    kill "$process"
    wait "$process" 2>/dev/null
    return "$status"
}

test_sandboxes() {
    local tool failed=0
    if tool=$(provision_simple_salesforce); then
        with_salesforce_sandbox "$tool" tests/clients/salesforce.py || failed=1
    else
        not_checked "the Salesforce sandbox with simple-salesforce: it cannot be had here"
        [ "${CI:-}" != true ] || failed=1
    fi
    if tool=$(provision_jsforce); then
        NODE_PATH="$tool" with_salesforce_sandbox node tests/clients/jsforce.js || failed=1
    else
        not_checked "the Salesforce sandbox with jsforce: it cannot be had here"
        [ "${CI:-}" != true ] || failed=1
    fi
    if tool=$(provision_pubsub_client); then
        PUBSUB_CLIENT="$tool" with_salesforce_sandbox node tests/clients/pubsub.js || failed=1
    else
        not_checked "the sandbox's Pub/Sub API with salesforce-pubsub-api-client: it cannot be had here"
        [ "${CI:-}" != true ] || failed=1
    fi
    return "$failed"
}
