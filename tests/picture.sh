#!/usr/bin/env bash
# Draws README.md's picture of the dashboard anew, from the real programs: `ucron dev` in a terminal of 100x26,
# after half a minute. Needs tmux.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --bin ucron
socket=$(mktemp -u)
tmux -S "$socket" new-session -d -x 100 -y 26 "NO_COLOR=1 target/release/ucron dev"
trap 'tmux -S "$socket" send-keys q 2>/dev/null || true' EXIT
sleep 35
picture=$(mktemp)
tmux -S "$socket" capture-pane -p | sed 's/[[:space:]]*$//; s/^/    /; s/^ *$//' >"$picture"
awk -v picture="$picture" '
  /<!-- dashboard: begin/ { print; print ""; while ((getline line < picture) > 0) print line; print ""; skip = 1 }
  /<!-- dashboard: end/ { skip = 0 }
  !skip || /<!-- dashboard: end/ { if (!/<!-- dashboard: begin/) print }
' README.md >"$picture.md"
cat "$picture.md" >README.md
rm -f "$picture" "$picture.md"
