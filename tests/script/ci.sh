#!/bin/sh
# A deployment as it is scripted in CI: every call of ucron with the exit code that it must have, and the fleet as it
# must be at the end. Wants in its environment: UCRON_HOME, PATH with ucron and python3, RUN_AS (an account), and
# agents a1 in the group web, a2 in the group db. Prints the number of calls.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
calls=0
out= err=

# ok ARG…: ucron must exit 0; its data is in $out then, its words in $err.
ok() { exits 0 "$@"; }

# exits CODE ARG…: ucron must exit with this code. Standard input is what $input holds.
exits() {
    wanted=$1
    shift
    calls=$((calls + 1))
    code=0
    printf '%s' "${input-}" | ucron "$@" >"$tmp/out" 2>"$tmp/err" || code=$?
    unset input
    out=$(cat "$tmp/out") err=$(cat "$tmp/err")
    [ "$code" = "$wanted" ] || fail "ucron $* exits $code, not $wanted"
}

fail() {
    printf '%s\n--- stdout\n%s\n--- stderr\n%s\n' "$1" "$out" "$err" >&2
    exit 1
}

# is WANTED: the data of the last call.
is() { [ "$out" = "$1" ] || fail "wanted: $1"; }
says() { case $err in *"$1"*) ;; *) fail "says no: $1" ;; esac; }
silent() { [ -z "$out$err" ] || fail "silence is wanted"; }

# json EXPRESSION WANTED: of the data of the last call, which is `d`.
json() {
    got=$(printf '%s' "$out" | python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1")
    [ "$got" = "$2" ] || fail "$1 is $got, not $2"
}

never='0 0 1 1 *'
task() { name=$1; shift; set -- add --group "${name%/*}" --name "${name#*/}" --user "$RUN_AS" "$@"; ok "$@"; }

# --- the fleet answers
ok status --check
ok status -o json
json "d['role']" leader
ok agents -q
is 'a1
a2'
ok groups -q
is 'db
web'
ok ls -q
silent
ok ls -o json
json 'd' '[]'
ok export
silent

# --- tasks are added, once
task web/probe --rule '@every 1h' --shell 'echo probed'
probe=$out
ok show web/probe -q
is "$probe"
exits 5 add --group web --name probe --user "$RUN_AS" --rule "$never" --shell false
says 'is taken'
exits 5 add --if-exists fail --group web --name probe --user "$RUN_AS" --rule "$never" --shell false
task web/probe --if-exists keep --rule "$never" --shell false
is "$probe"
ok show probe -o json
json "d['rule'], d['execute'], d['revision']" "('@every 1h', 'echo probed', 1)"
task web/probe --if-exists replace --rule '@every 1h' --shell 'echo probed'
is "$probe"
ok show probe -o json
json "d['revision']" 1
task web/probe --if-exists replace --rule "$never" --timeout 30s --shell 'echo probed'
is "$probe"
ok show probe -o json
json "d['rule'], d['timeout_ms'], d['revision']" "('$never', 30000, 2)"
task web/probe --if-exists replace --dry-run --rule '@daily' --shell true
ok show probe -o json
json "d['revision']" 2
task web/fail --rule "$never" --output --shell 'echo broken; exit 3'
task web/slow --rule "$never" -- sleep 1000
task web/worker --daemon --processes 2 -- sleep 1000
task db/dump --rule '30 3 * * *' --tz Europe/Berlin --retries 2 --backoff 10ms --shell 'exit 7'
task db/vacuum --rule "$never" --disabled -- true
task db/probe --rule "$never" --target one --shell 'echo $UCRON_TASK on $UCRON_AGENT'
task db/probe --if-exists replace --disabled --rule "$never" --target one --shell 'echo $UCRON_TASK on $UCRON_AGENT'
says 'db/probe changed'
ok show db/probe -o json
json "d['enabled'], d['revision']" '(False, 1)'
ok start db/probe
task web/later --dry-run --rule "$never" -- true
ok ls --group web -q --sort task_name
web=$out
ok ls -o json --group web
json "sorted(t['task_name'] for t in d)" "['fail', 'probe', 'slow', 'worker']"
exits 3 add --group absent --name x --user "$RUN_AS" --rule "$never" -- true
exits 2 add --group web --name x --user "$RUN_AS" --rule '61 * * * *' -- true
exits 2 add --group web --name x --user "$RUN_AS" --rule "$never"
exits 2 show probe
says 'db/probe, web/probe'
exits 3 show web/later

# --- rules are asked about
ok next '@every 6h' --from 2027-01-01T00:00:00Z -n 2 -o json
json 'd' "['2027-01-01T06:00:00+00:00', '2027-01-01T12:00:00+00:00']"
exits 1 next '0 0 30 2 *'
ok next db/dump -n 1 -o json --from 2027-01-01T00:00:00Z
json 'd' "['2027-01-01T03:30:00+01:00']"
ok why db/vacuum -o json

# --- runs are waited for
ok run --wait web/probe
run=$out
ok show "$run" -o json
json "d['outcome'], d['cause'], d['exit_code'], d['task']" "('succeeded', 'operator', 0, 'web/probe')"
ok logs "$run"
is probed
ok run -f web/probe
is probed
exits 1 run --wait web/fail
run=$out
ok show "$run" -o json
json "d['outcome'], d['exit_code'], d['tail'].strip()" "('failed', 3, 'broken')"
exits 1 run --wait db/dump
ok runs --task db/dump --limit 1 -o json
json "d[0]['outcome'], d[0]['attempt']" "('failed', 3)"
exits 1 run --wait web/probe web/fail
ok run --wait db/probe -o json
ok logs db/probe
is 'probe on a2'
exits 124 run --wait --wait-timeout 300ms web/slow
says 'they go on'
ok runs --task web/slow -q
slow=$out
exits 5 run web/slow
says "$slow"
ok ps web/slow -o json
json "len(d), d[0]['state'], d[0]['run_id']" "(1, 'running', '$slow')"
ok kill "$slow"
tries=600
until ok ps web/slow -q && [ -z "$out" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail 'the run that was killed does not end'
    sleep 0.1
done
exits 3 kill "$slow"
exits 2 run web/worker
exits 3 run web/absent
ok runs --outcome failed --group web -q
ok runs --since 1h --agent a2 -o json
json "{r['agent'] for r in d}" "{'a2'}"
exits 3 runs --task absent

# --- tasks are stopped and started, one by one and many at once
ok stop web/probe
says 'web/probe stopped'
ok stop web/probe
says 'is stopped already'
ok show web/probe -o json
json "d['enabled'], d['next_at']" '(False, None)'
ok run --wait web/probe
ok start web/probe
says 'web/probe started'
ok stop web/probe web/fail db/dump -q
input=$out
ok start - -q
input="$web"
ok stop -
ok ls --group web -o json
json "any(t['enabled'] for t in d)" False
ok start --group web
ok ls --group web -o json
json "all(t['enabled'] for t in d)" True
exits 3 stop web/probe web/absent
says 'web/absent'
ok start web/probe
exits 2 stop --all
says '--yes'
ok stop --all --yes
ok ls -o json
json "any(t['enabled'] for t in d)" False
ok start --all --yes
exits 2 stop web/probe --all
exits 2 stop
exits 2 restart web/probe
ok restart web/worker
ok restart --one-by-one web/worker

# --- tasks are edited
ok edit web/probe --note 'by CI' --grace 3s
ok show web/probe -o json
json "d['note'], d['grace_ms'], d['timeout_ms']" "('by CI', 3000, 30000)"
ok edit web/probe --no-timeout --no-grace
ok show web/probe -o json
json "d['note'], d['grace_ms'], d['timeout_ms']" "('by CI', 10000, None)"
ok edit web/probe --name check
ok edit web/check --group db
ok show db/check -q
is "$probe"
exits 3 show web/probe
exits 5 edit db/check --name dump
exits 2 edit db/check --rule never
exits 2 edit db/check --note a --no-note
ok edit db/check --name probe --group web
ok edit web/probe --disabled
ok edit web/probe --no-disabled --dry-run
ok show web/probe -o json
json "d['enabled'], d['note']" "(False, 'by CI')"

# --- texts
ok export web/probe db/vacuum
case $out in '[[task]]
group = "db"
name = "vacuum"'*'note = "by CI"') ;; *) fail 'the export is another' ;; esac
first=$out
ok export db/vacuum web/probe
is "$first"
exits 3 export web/probe web/absent
is ''

# --- groups and agents
ok group add edge
exits 5 group add edge
ok group assign edge a1
exits 5 group rm web
exits 5 group rm edge
ok group unassign edge a1
ok group rm edge
exits 3 group rm edge
ok agent drain a2
ok agents -o json
json "[a['state'] for a in d]" "['online', 'draining']"
ok agent undrain a2
exits 3 agent drain a9
ok audit --limit 1 -o json
json "d[0]['deed']" 'agent undrain'
ok events -o jsonl

# --- what is not wanted any more goes
ok rm web/slow
exits 3 rm web/slow
exits 2 rm web/fail db/probe
ok ls -q --group db
input=$out
ok rm - --yes
exits 3 show db/dump
ok runs --task web/fail -q
ok rm --yes web/fail
ok ls -o json
json "[(t['group'], t['task_name'], t['enabled'], t['revision'] > 1) for t in d]" "[('web', 'probe', False, True), ('web', 'worker', True, False)]"
ok ps -o json
json "sorted((p['task'], p['slot']) for p in d if p['daemon'])" "[('web/worker', 0), ('web/worker', 1)]"
echo "$calls calls"
