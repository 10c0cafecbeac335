#!/bin/sh
# Three nodes of a private Galera cluster for tests: galera.sh DIR LIBRARY and for each node four ports (of clients, the
# group, incremental and whole state transfer), as an unprivileged user, DIR its own and not there yet. Says `ready` when
# the nodes are started, then does what it is told on stdin, a line each: `kill N` (at once, as a crash), `start N`,
# `pause N`, `continue N`; after each it says `done`. When stdin ends the nodes are killed and DIR is gone.
dir=$1
library=$2
shift 2
group=gcomm://127.0.0.1:$2,127.0.0.1:$6,127.0.0.1:${10}
for node in 0 1 2; do
  eval "sql_$node=$1 group_$node=$2 ist_$node=$3 sst_$node=$4"
  shift 4
done

# The node's server, with what follows the number.
run() {
  node=$1
  shift
  eval "sql=\$sql_$node at=\$group_$node ist=\$ist_$node sst=\$sst_$node"
  mariadbd --no-defaults --datadir="$dir/data$node" --tmpdir="$dir/tmp$node" --socket="$dir/s$node" \
    --pid-file="$dir/pid$node" --bind-address=127.0.0.1 --port="$sql" --skip-name-resolve \
    --innodb-buffer-pool-size=32M --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=2 \
    --performance-schema=OFF --max-connections=200 --lower-case-table-names=0 \
    --binlog-format=ROW --innodb-autoinc-lock-mode=2 --default-storage-engine=InnoDB \
    --wsrep-on=ON --wsrep-provider="$library" --wsrep-cluster-name=ucron --wsrep-cluster-address="$group" \
    --wsrep-node-name="node$node" --wsrep-node-address="127.0.0.1:$at" \
    --wsrep-sst-method=ucron --wsrep-sst-receive-address="127.0.0.1:$sst" \
    --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$at;ist.recv_addr=127.0.0.1:$ist;gcache.size=32M" \
    "$@" >>"$dir/log$node" 2>&1 </dev/null &
  eval "pid_$node=$!"
}

# A node that was killed: what is on its disk says from where it goes on.
start() {
  rm -f "$dir/found.log"
  run "$1" --wsrep-recover --log-error="$dir/found.log"
  wait $!
  run "$1" --wsrep-start-position="$(sed -n 's/.*Recovered position: //p' "$dir/found.log" | tail -n 1)"
}

signal() {
  eval "kill -$1 \$pid_$2 2>/dev/null"
}

end() {
  signal 9 "$1"
  eval "wait \$pid_$1 2>/dev/null"
}

ask() {
  mariadb --no-defaults -uroot --socket="$dir/s0" -e "$1" >/dev/null 2>&1
}

fail() {
  cat "$dir"/log* >&2
  end 0
  rm -rf "$dir"
  exit 1
}

mkdir -p "$dir/bin" "$dir/tmp0" "$dir/tmp1" "$dir/tmp2" || exit 1
export TMPDIR="$dir/tmp0" GALERA_TEST_DIR="$dir" PATH="$dir/bin:$PATH"
# Nodes begin as copies of one another, so what they lack is always sent as the last transactions; the script of a state
# transfer only says so to both sides.
cat >"$dir/bin/wsrep_sst_ucron" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2 ;;
    --address) address=$2 ;;
    --gtid) gtid=$2 ;;
    --bypass) bypass=1 ;;
  esac
  shift
done
file=$GALERA_TEST_DIR/transfer.${address##*:}
if [ "$role" = joiner ]; then
  rm -f "$file"
  echo "ready $address"
  until [ -s "$file" ]; do sleep 0.05; done
  cat "$file"
else
  [ "$bypass" ] || exit 22
  echo "$gtid" >"$file.new" && mv "$file.new" "$file"
  echo "done $gtid"
fi
END
chmod 755 "$dir/bin/wsrep_sst_ucron"
mariadb-install-db --no-defaults --datadir="$dir/data0" --tmpdir="$dir/tmp0" \
  --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >"$dir/log0" 2>&1 </dev/null || fail
# A cluster of one, for as long as it takes to have a name and a transaction.
run 0 --wsrep-new-cluster
tries=0
until ask 'CREATE DATABASE warm'; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || fail
  sleep 0.1
done
ask SHUTDOWN
eval "wait \$pid_0"
for node in 1 2; do
  cp -a "$dir/data0" "$dir/data$node"
  rm -f "$dir/data$node/galera.cache"
done
run 0 --wsrep-new-cluster
run 1
run 2
echo ready
while read -r word node; do
  case $word in
    kill) end "$node" ;;
    start) start "$node" ;;
    pause) signal STOP "$node" ;;
    continue) signal CONT "$node" ;;
  esac
  echo 'done'
done
for node in 0 1 2; do end "$node"; done
rm -rf "$dir"
