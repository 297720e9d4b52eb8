# shellcheck shell=bash disable=SC2015,SC2154,SC2164
# The tools and checks of a test run that are more than one cargo command. Sourced by tests/run; runs as steps.

cargo_deny_version=0.20.2

# There is no rust-toolchain.toml: it would make rustup download a toolchain where an installed one will do. What counts
# is `rust-version` in Cargo.toml, compared here so that an old compiler is told apart from an error in the code.
check_rust() {
    local wanted found
    command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null && command -v rustc >/dev/null ||
        missing "no Rust toolchain (cargo, rustc) on the PATH." "Get one with rustup, or from your system's packages."
    wanted=$(sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' Cargo.toml)
    found=$(rustc --version | sed 's/rustc \([0-9]*\.[0-9]*\).*/\1/')
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$wanted" ] ||
        missing "rustc is $found, and Cargo.toml asks for $wanted or newer." "rustup update stable"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        missing "rustfmt or clippy is missing." "rustup component add rustfmt clippy"
    say "$(rustc --version)"
}

check_c_compiler() {
    command -v "${CC:-cc}" >/dev/null ||
        missing "no C compiler (${CC:-cc}) on the PATH: SQLite and ring are built with it." \
            "Debian, Ubuntu: apt-get install gcc"
}

# Prints the path of cargo-deny. The registries have no ready-made one of a version that knows today's licence names, so
# it is built once, unoptimised, which takes little over a minute on two cores, and kept in the cache.
cargo_deny() {
    local root="$TIDELOCK_CACHE/cargo-deny-$cargo_deny_version"
    if [ ! -x "$root/bin/cargo-deny" ]; then
        say "Building cargo-deny $cargo_deny_version into the cache" >&2
        CARGO_TARGET_DIR="$run_folder/cargo-deny" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install --quiet --locked --no-default-features --root "$root" --version "$cargo_deny_version" \
            cargo-deny >&2 || return 1
        rm -rf "$run_folder/cargo-deny"
    fi
    printf '%s\n' "$root/bin/cargo-deny"
}

# Licences, bans and sources need nothing but the registry. The advisories are kept on a git host, which not every
# machine reaches: that they were not looked at is then said, not hidden.
check_dependencies() {
    local deny
    deny=$(cargo_deny) || return 1
    "$deny" --locked check --hide-inclusion-graph licenses bans sources || return 1
    if "$deny" --locked --log-level off fetch db >/dev/null 2>&1; then
        "$deny" --locked check --hide-inclusion-graph --disable-fetch advisories
    else
        not_checked "security advisories: their database cannot be fetched from here"
    fi
}

# Rebuilds the standard plugins into TIDELOCK_REBUILT_DIR. `plugins/build` ends with 3 where no toolchain for guests can
# be had: then only the committed files are tested, which will do for a user, but not for CI.
rebuild_plugins() {
    local status=0
    plugins/build --rebuild-check || status=$?
    [ "$status" -eq 3 ] || return "$status"
    not_checked "that the standard plugins match their sources: no toolchain to rebuild them, the committed ones are tested"
    [ "${CI:-}" != true ]
}

# Builds what users would else embed, to be measured beside plugins: scripts in Lua and Rhai, and JavaScript in QuickJS. Where
# TIDELOCK_BENCH_QUICKJS names a component already, that is measured.
build_peers() {
    local target="${CARGO_TARGET_DIR:-$repository/target}"
    cargo build --locked --release --manifest-path benches/peers/Cargo.toml --target-dir "$target/peers" || return 1
    export TIDELOCK_BENCH_PEERS="$target/peers/release/peers"
    [ -n "${TIDELOCK_BENCH_QUICKJS:-}" ] && return 0
    cargo build --locked --release --bin tidelock && build_quickjs "$target/release/tidelock" && return 0
    not_checked "what JavaScript costs: its toolchain cannot be had, and TIDELOCK_BENCH_QUICKJS names no component"
}

# The component of benches/peers/quickjs, in the run's folder: the sources stay as they are.
build_quickjs() { # TIDELOCK
    local tools project="$run_folder/quickjs"
    tools=$(provision_javascript) && mkdir -p "$project" && cp benches/peers/quickjs/plugin.* "$project" &&
        PATH="$tools:$PATH" "$1" plugin build "$project" --release --out "$run_folder" || return 1
    export TIDELOCK_BENCH_QUICKJS="$run_folder/us_phone_quickjs.wasm"
}

# Runs the tests that FILTERS name (all of them without), with nextest where it is installed.
run_tests() { # [--hermetic] [FILTER…]
    local targets=()
    if [ "${1:-}" = --hermetic ]; then
        shift
        targets=(--lib --bins --test it)
    fi
    if cargo nextest --version >/dev/null 2>&1; then
        # Most of a test's time goes by in waiting for servers and clocks: two for each core keep the cores busy.
        cargo nextest run --locked --test-threads $((2 * $(nproc))) ${targets[@]+"${targets[@]}"} -- "$@"
    else
        say "cargo-nextest is not installed: cargo test does it, without its time limits"
        cargo test --locked --no-fail-fast ${targets[@]+"${targets[@]}"} -- "$@"
    fi
}

build_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps; }
