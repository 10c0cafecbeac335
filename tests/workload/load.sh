#!/bin/sh
# The crontab of a small company, as a script of `ucron add`. Wants UCRON (the client), UCRON_HOME, USER_NAME (the
# account that the commands run as) and WORK (a directory that it may write). Times as they are on a real host; in
# front of each command stands the note that it takes of itself.
set -eu
add() { "$UCRON" add --user "$USER_NAME" --env "NOTE=$WORK/note.sh" --env "LEDGER=$WORK/ledger" --env "WORK=$WORK" "$@" >/dev/null; }
line() { rule=$1 name=$2 shell=$3; shift 3; add --group web --name "$name" --rule "$rule" "$@" --shell ". \$NOTE; $shell"; }
base() { rule=$1 name=$2 shell=$3; shift 3; add --group db --name "$name" --rule "$rule" "$@" --shell ". \$NOTE; $shell"; }

# Every second and faster.
line '* * * * * *'          health-probe     'test -d /proc/self' --timeout 5s
line '@every 250ms'         queue-depth      ':' --overlap skip
line '*/2 * * * * *'        metrics          'cat /proc/loadavg' --output=tail
base '*/3 * * * * *'        replication-lag  'echo lag 0' --target one
base '@every 1500ms'        flaky-check      'test "$UCRON_ATTEMPT" -ge 2' --retries 2 --backoff 100ms
line '*/2 * * * * *'        slow-report      'sleep 3' --overlap skip
line '*/4 * * * * *'        bad-mailer       'echo "no route to host" >&2; exit 3' --output=tail
line '*/5 * * * * *'        stuck-import     'exec sleep 60' --timeout 500ms

# Daemons.
add --group web --name queue-worker --daemon --processes 4 --shell '. $NOTE; exec sleep 100000'
add --group db --name wal-receiver --daemon --stop-signal INT --grace 2s --shell '. $NOTE; exec sleep 100000'

# Each minute, hour, night.
line '* * * * *'            session-sweep    ':'
line '*/5 * * * *'          cache-warm       ':' --jitter 30s
line '0,30 * * * *'         sitemap          ':' --timeout 10m
line '17 * * * *'           cron-hourly      'true'
base '30 3 * * *'           nightly-dump     'sleep 1; echo dumped' --tz Europe/Berlin --timeout 2h --retries 1 --output=tail
line '@daily'               log-rotation     ':' --catch-up --misfire-grace 6h
base '15 2 * * 7'           vacuum-full      ':' --overlap skip --nice 10
line '25 6 * * 1-5'         weekday-mail     ':' --tz Europe/London
line '0 9-17 * * MON-FRI'   office-hours     ':' --tz America/New_York
line '0 18 * * 5L'          last-friday      ':' --note 'the report of the month'
line '0 6 LW * *'           month-end        ':' --tz Asia/Tokyo
line '0 12 15W * *'         payroll          ':'
line '0 10 * * 1#1'         first-monday     ':'
base '0 4 1 */3 *'          quarterly-audit  ':' --target one
base '0 0 29 2 *'           leap-day         ':'
line '30 2 * * *'           clock-change     ':' --tz America/New_York
line '0 0 12 24 12 ? 2030'  once-in-2030     ':'
line '@at 2031-01-01T00:00:00+08:00' new-year ':'
line '@reboot'              warm-up          ':'
line '0 0 1 1 *'            retired          ':' --disabled
