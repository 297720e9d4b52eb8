# shellcheck shell=bash disable=SC2015,SC2154,SC2164
# MySQL's own server, which Debian has in its unstable suite only. Sourced by tests/run.
#
# apt fetches its packages, with all they need, from the mirror that this machine uses, and checks them as any others; nothing is installed.
# They are kept in the cache, and unpacked into the run's folder, where the server runs with a C library of its own.

# Sets mysql_server to a server that was fetched.
fetch_mysql() {
    local kept="$TIDELOCK_CACHE/mysql-unstable" root="$run_folder/mysql-unstable" package
    [ "$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null)" = debian ] || return 1
    if [ ! -f "$kept/complete" ]; then
        say "Fetching MySQL's server from Debian's unstable suite into the cache"
        interruptible fetch_unstable "$kept" mysql-server-core || return 1
        touch "$kept/complete"
    fi
    mkdir "$root"
    for package in "$kept"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --exclude='*perl*' --exclude=./usr/share/doc || return 1
    done
    mysql_server="$root/mysqld"
    unstable_server "$root" >"$mysql_server"
    chmod 755 "$root" "$mysql_server"
    "$mysql_server" --no-defaults --version >/dev/null
}

# Downloads a package and what it needs, as on a machine that has nothing yet.
fetch_unstable() { # FOLDER PACKAGE
    local site options
    site=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        sed -n 's/ Debian Debian$//p' | head -n 1)
    [ -n "$site" ] || return 1
    mkdir -p "$1/lists" "$1/cache/archives/partial"
    : >"$1/installed"
    printf 'deb %s sid main\n' "$site" >"$1/sources.list"
    options=(-q -o Dir::Etc::SourceList="$1/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State::Lists="$1/lists" -o Dir::State::Status="$1/installed" -o Dir::Cache="$1/cache" -o APT::Sandbox::User=
        -o Acquire::Languages=none -o APT::Install-Recommends=false -o Debug::NoLocking=true)
    apt-get "${options[@]}" update && apt-get "${options[@]}" --download-only -y install "$2" && rm -rf "$1/lists"
}

# The program that is started: its settings come after those of whoever starts it, the first of which may be --no-defaults.
unstable_server() { # ROOT
    local libraries
    libraries=$(dirname "$(find "$1/usr/lib" -name 'libc.so.6' | head -n 1)")
    cat <<PROGRAM
#!/bin/sh
exec "$(find "$1"/usr/lib* -name 'ld-linux*' | head -n 1)" --library-path "$libraries" "$1/usr/sbin/mysqld" "\$@" --basedir="$1/usr" \\
    --lc-messages-dir="$1/usr/share/mysql" --plugin-dir="$1/usr/lib/mysql/plugin" --character-sets-dir="$1/usr/share/mysql/charsets" --secure-file-priv=
PROGRAM
}
