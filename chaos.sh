#!/usr/bin/env bash
# Has a real fleet work for so many seconds (600) while its programs are killed and its links cut, by this seed (a fresh
# one), and holds the center's history against what the commands wrote. What a broken history leaves is kept and named.
set -euo pipefail
cd "$(dirname "$0")"
export UCRON_CHAOS_SECONDS="${1:-600}" UCRON_CHAOS_SEED="${2:-$RANDOM}"
echo "chaos.sh: $UCRON_CHAOS_SECONDS s with seed $UCRON_CHAOS_SEED"
exec cargo test --locked --test chaos no_run_is_lost -- --nocapture
