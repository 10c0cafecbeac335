#!/bin/sh
# A private MariaDB server for tests: server.sh DIR PORT [OPTION…], as an unprivileged user, DIR its own and not there yet.
# Says `ready` when the server is started for the first time, then does what it is told on stdin, a word a line:
# kill (at once, as a crash), start, pause, continue, keep (a copy of what is on disk), rewind (to that copy),
# fill (the disk), clear (it again); after each it says `done`. When stdin ends, however whoever
# started it ended, the server is killed and DIR is gone.
dir=$1
port=$2
shift 2
options=$*
pid=

start() {
  mariadbd --no-defaults --datadir="$dir/data" --tmpdir="$dir/tmp" --socket="$dir/s" --pid-file="$dir/pid" \
    --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --skip-log-bin \
    --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --innodb-flush-log-at-trx-commit=2 \
    --performance-schema=OFF --max-connections=200 --lower-case-table-names=0 $options \
    --ssl-ca="$dir/ca.pem" --ssl-cert="$dir/cert.pem" --ssl-key="$dir/key.pem" \
    >>"$dir/log" 2>&1 </dev/null &
  pid=$!
}

end() {
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
}

# A server clears what is left in its tmpdir when it starts, of others too.
mkdir -p "$dir/tmp" || exit 1
for file in ca cert key; do
  cat >"$dir/$file.pem" <<EOF
$(eval "printf '%s' \"\$UCRON_TEST_$file\"")
EOF
done
export TMPDIR="$dir/tmp"
mariadb-install-db --no-defaults --datadir="$dir/data" --tmpdir="$dir/tmp" --auth-root-authentication-method=normal \
  --skip-test-db --skip-name-resolve >"$dir/log" 2>&1 </dev/null || {
  cat "$dir/log" >&2
  rm -rf "$dir"
  exit 1
}
start
echo ready
while read -r word; do
  case $word in
    kill) end ;;
    start) start ;;
    pause) kill -STOP "$pid" ;;
    continue) kill -CONT "$pid" ;;
    keep) rm -rf "$dir/kept" && cp -a "$dir/data" "$dir/kept" ;;
    fill) cat /dev/zero >"$dir/data/filler" 2>/dev/null ;;
    clear) rm -f "$dir/data/filler" ;;
    rewind) rm -rf "$dir/data" && mv "$dir/kept" "$dir/data" ;;
  esac
  echo 'done'
done
end
rm -rf "$dir" 2>/dev/null
