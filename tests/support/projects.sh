# shellcheck shell=bash disable=SC2154
# Plugins in every language that `tidelock plugin new` offers: made, built, loaded, tested and used in a sync. Sourced by tests/run.
#
# The toolchains come from package registries into TIDELOCK_CACHE, nothing is installed. One that cannot be had is said loudly, and
# fails CI.

componentize_qjs_version=0.4.5
componentize_py_version=0.25.1

provision_javascript() {
    local tools="$TIDELOCK_CACHE/javascript-$componentize_qjs_version"
    [ -x "$tools/node_modules/.bin/componentize-qjs" ] ||
        npm install --silent --no-audit --no-fund --prefix "$tools" "componentize-qjs@$componentize_qjs_version" >&2 || return 1
    printf '%s\n' "$tools/node_modules/.bin"
}

provision_python() {
    local tools="$TIDELOCK_CACHE/python-$componentize_py_version"
    if [ ! -x "$tools/bin/componentize-py" ]; then
        { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet "componentize-py==$componentize_py_version"; } >&2 || return 1
    fi
    printf '%s\n' "$tools/bin"
}

# Debian's clang for WebAssembly, unpacked beside the Rust toolchain of the guests, whose LLVM it uses. Prints a WASI_SDK_PATH.
provision_c() {
    local tools="$TIDELOCK_CACHE/c" rust="$TIDELOCK_CACHE/wasm/current" llvm deb
    if [ ! -x "$tools/bin/clang" ]; then
        llvm=$(find "$rust/usr/bin" -name 'wasm-ld-*' 2>/dev/null | sed -n 's/.*wasm-ld-//p' | head -n 1)
        [ -n "$llvm" ] || return 1
        rm -rf "$tools"
        mkdir -p "$tools/debs" "$tools/tree" "$tools/bin"
        (cd "$tools/debs" && apt-get -qq -o APT::Sandbox::User=root download "clang-$llvm" "libclang-cpp$llvm" \
            "libclang-common-$llvm-dev" "libclang-rt-$llvm-dev-wasm32" wasi-libc >&2) || return 1
        for deb in "$tools"/debs/*.deb; do
            dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tools/tree" --exclude=./usr/share || return 1
        done
        rm -rf "$tools/debs"
        cat >"$tools/bin/clang.new" <<CLANG
#!/bin/sh
export LD_LIBRARY_PATH="$tools/tree/usr/lib/x86_64-linux-gnu:$tools/tree/usr/lib/llvm-$llvm/lib:$rust/usr/lib/x86_64-linux-gnu"
export PATH="$tools/tree/usr/bin:$rust/usr/bin:\$PATH"
exec clang-$llvm --sysroot="$tools/tree/usr" "\$@"
CLANG
        chmod +x "$tools/bin/clang.new"
        mv "$tools/bin/clang.new" "$tools/bin/clang"
    fi
    printf '%s\n' "$tools"
}

# Makes, builds and tests one project, and leaves its component in the folder of plugins.
test_project() { # LANGUAGE ROLE
    local name="${1}_${2//-/_}"
    say "plugin new $name --lang $1 --role $2"
    "$tidelock" plugin new "$name" --lang "$1" --role "$2" >/dev/null &&
        "$tidelock" plugin build "$name" --release --out plugins &&
        "$tidelock" plugin test "plugins/$name.wasm" --fixtures "$name/fixtures.jsonl"
}

# A value goes from one database to another through the transforms of these languages, one after the other.
sync_through() { # LANGUAGE…
    local mappings="" language
    for language in "$@"; do
        mappings+=",{\"source\":\"name\",\"target\":\"$language\",\"transformation\":\"${language}_transform\",\"direction\":\"source_to_target\"}"
    done
    python3 - "$@" <<'PYTHON' || return 1
import sqlite3, sys
source, target = sqlite3.connect("a.db"), sqlite3.connect("b.db")
source.executescript("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Zoe King'), (2, 'Bo Li')")
columns = "".join(f", {language} TEXT" for language in sys.argv[1:])
target.executescript(f"CREATE TABLE people (id INTEGER PRIMARY KEY{columns})")
PYTHON
    printf '%s' "{\"connection_name\":\"projects\",\"source\":{\"type\":\"sqlite\",\"path\":\"a.db\",\"table\":\"people\"},
        \"target\":{\"type\":\"sqlite\",\"path\":\"b.db\",\"table\":\"people\"},\"sync_type\":\"one_way\",
        \"field_mappings\":[{\"source\":\"id\",\"target\":\"id\"}$mappings]}" >sync.json
    "$tidelock" run sync.json --once --plugins plugins || return 1
    python3 - "$@" <<'PYTHON'
import sqlite3, sys
expected = {"rust": ("ZK", "BL"), "c": ("****King", "*o Li"), "js": ("zoe-king", "bo-li"), "python": ("Zoe King", "Bo Li")}
for language in sys.argv[1:]:
    got = tuple(row[0] for row in sqlite3.connect("b.db").execute(f"SELECT {language} FROM people ORDER BY id"))
    assert got == expected[language], (language, got)
print("synced through", ", ".join(sys.argv[1:]))
PYTHON
}

test_projects() {
    local language role tools failed=0 built=()
    tidelock="$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)/debug/tidelock"
    export XDG_CACHE_HOME="$run_folder/projects-cache"
    mkdir -p "$run_folder/projects" "$XDG_CACHE_HOME"
    cd "$run_folder/projects" || return 1
    for language in rust c js python; do
        if ! select_project_tools "$language"; then
            not_checked "plugins in $language: the toolchain cannot be had here"
            [ "${CI:-}" != true ] || failed=1
            continue
        fi
        built+=("$language")
        for role in $(project_roles "$language"); do
            test_project "$language" "$role" || { warn "$language $role failed"; failed=1; }
        done
    done
    [ "${#built[@]}" -eq 0 ] || sync_through "${built[@]}" || failed=1
    return "$failed"
}

project_roles() { # LANGUAGE
    case $1 in
        rust) echo transform validator resolver record-transform ;;
        c) echo transform ;;
        *) echo transform validator resolver ;;
    esac
}

# Sets what `plugin build` looks for.
select_project_tools() { # LANGUAGE
    local tools
    case $1 in
        rust)
            export CARGO_TARGET_DIR="$run_folder/projects-target"
            [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ] && return 0
            tools=$(bash "$repository/plugins/toolchain.sh" "$TIDELOCK_CACHE/wasm") || return 1
            eval "$tools"
            export CARGO_UNSTABLE_BUILD_STD=std,panic_abort ;;
        c) tools=$(provision_c) && export WASI_SDK_PATH="$tools" ;;
        js) tools=$(provision_javascript) && export PATH="$tools:$PATH" ;;
        python) tools=$(provision_python) && export PATH="$tools:$PATH" ;;
    esac
}
