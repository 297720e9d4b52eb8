#!/usr/bin/env bash
# Provision a Rust -> WebAssembly toolchain from Debian packages into a cache
# folder, without installing anything and without touching rustup.
#
#   eval "$(toolchain.sh CACHE_DIR)"
#   cargo build -Zbuild-std=std,panic_abort --release --target wasm32-unknown-unknown
#
# The linker is set to wasm-component-ld, so cargo's .wasm output is a component.
# $WASM_REMAP_STD holds the rustc flags that keep this cache's path out of it.
#
# Standard output carries only `export` lines; progress goes to standard error.
# Safe to call again: a finished cache is recognised by its stamp file.
set -euo pipefail

say() { printf 'toolchain: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

[ $# -eq 1 ] || die "usage: toolchain.sh CACHE_DIR"
mkdir -p "$1"
cache=$(cd "$1" && pwd -P)
case $cache in *[[:space:]]*) die "the cache path must not contain white space" ;; esac
[ "$(dpkg --print-architecture 2>/dev/null || true)" = amd64 ] || die "only Debian amd64 is handled"

# One provisioning at a time; the lock goes away with this process.
exec 9>"$cache/.lock"
flock 9

layout=1
pinned=${WASM_TOOLCHAIN_VERSION:-}

# Reuse without asking apt when there is a finished tree and nothing was pinned.
current=$(readlink "$cache/current" 2>/dev/null || true)
if [ -n "$current" ] && [ -f "$cache/$current/.ready-$layout" ] &&
   { [ -z "$pinned" ] || [ "$current" = "rust-$pinned" ]; }; then
  tree=$cache/$current
else
  for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool is needed"
  done
  candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'; }
  version=${pinned:-$(candidate rustc-web)}
  if [ -z "$version" ] || [ "$version" = "(none)" ]; then
    # This script does not refresh apt's lists itself: that would change the system.
    die "apt does not know rustc-web; run 'apt-get update' once and try again"
  fi
  series=$(printf '%s' "$version" | cut -d. -f1,2)          # 1.96
  tree=$cache/rust-$version
  if [ ! -f "$tree/.ready-$layout" ]; then
    work=$(mktemp -d "$cache/.new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/debs" "$work/tree"
    say "downloading rustc-web $version"
    # The compiler's LLVM release decides which linker package fits.
    llvm=$(apt-cache show "libstd-rust-web-$series=$version" |
           sed -n 's/^Depends:.*libllvm\([0-9]*\).*/\1/p' | head -n1)
    [ -n "$llvm" ] || die "cannot tell which LLVM libstd-rust-web-$series uses"
    names="rustc-web=$version libstd-rust-web-$series=$version libstd-rust-web-dev=$version
           rust-web-src=$version rust-web-llvm=$version libllvm$llvm lld-$llvm"
    # shellcheck disable=SC2086
    (cd "$work/debs" && apt-get -qq -o APT::Sandbox::User=root download $names >&2)
    say "unpacking"
    for deb in "$work"/debs/*.deb; do
      case ${deb##*/} in
        rust-web-src_*)
          # Only the standard library's sources, not the whole compiler tree.
          dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$work/tree" --wildcards './usr/lib/rustlib/*' './usr/src/rustc-*/library/*' ;;
        *) dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$work/tree" --exclude='./usr/share' ;;
      esac
    done
    # rustc looks for its linker under this exact name.
    ln -sfn "../../../llvm-$llvm/bin/lld" \
      "$work/tree/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"
    LD_LIBRARY_PATH=$work/tree/usr/lib/x86_64-linux-gnu "$work/tree/usr/bin/rustc" -vV >&2 ||
      die "the unpacked compiler does not start"
    [ -f "$work/tree/usr/lib/rustlib/src/rust/library/Cargo.lock" ] ||
      die "the standard library's sources are missing"
    # rustc and lld need libraries that are not on the default path: wrap rustc
    # so that callers set RUSTC alone and no LD_LIBRARY_PATH leaks elsewhere.
    mkdir -p "$work/tree/bin"
    cat > "$work/tree/bin/rustc" <<'W'
#!/bin/sh
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$root/usr/bin/rustc" "$@"
W
    chmod +x "$work/tree/bin/rustc"
    touch "$work/tree/.ready-$layout"
    rm -rf "$tree"
    mv "$work/tree" "$tree"
    rm -rf "$work"
    trap - EXIT
  fi
  ln -sfn "${tree##*/}" "$cache/current"
fi

say "ready: $("$tree/bin/rustc" --version)"
cat <<V
export RUSTC=$tree/bin/rustc
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld
export WASM_REMAP_STD="--remap-path-prefix=$tree/usr/lib/rustlib/src/rust=/rust $(
  for src in "$tree"/usr/src/rustc-*; do printf -- '--remap-path-prefix=%s=/rust' "$src"; done)"
V
