#!/usr/bin/env bash
# Everything that must hold, in one command. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")"

# One Debian package beside Rust and a C compiler: mandoc, which reads the man pages as people will.
if ! command -v mandoc >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends mandoc; } >/dev/null 2>&1 ||
      echo 'test.sh: mandoc cannot be installed; the man pages are not linted'
  else
    echo 'test.sh: the man pages are not linted; install the Debian package mandoc for that'
  fi
fi

cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo test --locked
if command -v mandoc >/dev/null; then
  # Pages that are not installed cannot be found; everything else must be in order.
  if mandoc -T lint man/*.[1578] | grep -v 'referenced manual not found'; then
    echo 'test.sh: mandoc finds fault with the man pages'
    exit 1
  fi
fi
