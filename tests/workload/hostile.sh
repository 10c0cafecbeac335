# Does not want to end: ignores TERM, double-forks, leaves its session, drops its environment, forks on and on.
# Every process of it appends its pid to $PIDS.
trap '' TERM INT HUP QUIT
echo $$ >>"$PIDS"
(setsid sh -c 'trap "" TERM; echo $$ >>'"$PIDS"'; while :; do sleep 0.3; done' &)
setsid env -i /bin/sh -c 'trap "" TERM; echo $$ >>'"$PIDS"'; while :; do /bin/sleep 0.3; done' &
(
  setsid sh -c 'trap "" TERM; (setsid sh -c "trap \"\" TERM; echo \$\$ >>'"$PIDS"'; while :; do sleep 0.3; done" &)' &
)
while :; do sleep 0.1; done
