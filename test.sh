#!/usr/bin/env bash
# Everything that must hold, in one command. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")"
export RUSTFLAGS="${RUSTFLAGS:-} -D warnings"
cargo fmt --check
cargo clippy --all-targets --locked
cargo test --locked
