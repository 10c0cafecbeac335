# Appends one line about the run to $LEDGER, in one write: task, agent, run id, scheduled time, start time in
# milliseconds, pid, uid, cause, slot, attempt. Run by itself, or sourced at the begin of a shell line.
started=$(date +%s%3N)
printf '%s %s %s %s %s %s %s %s %s %s\n' "$UCRON_GROUP/$UCRON_TASK" "$UCRON_AGENT" "$UCRON_RUN_ID" \
  "$UCRON_SCHEDULED_AT" "$started" "$$" "$(id -u)" "$UCRON_CAUSE" "$UCRON_SLOT" "$UCRON_ATTEMPT" >>"$LEDGER"
