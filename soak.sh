#!/usr/bin/env bash
# Plays histories of chance for so many minutes (10), on all processors, and counts what they held. A seed that breaks
# a promise is printed with the command that plays it again: UCRON_SIM_SEED=N cargo test --test sim chance
set -euo pipefail
cd "$(dirname "$0")"
UCRON_SIM_MINUTES="${1:-10}" exec cargo test --release --locked --test sim chance -- --nocapture
