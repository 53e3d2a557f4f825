#!/bin/bash
# Runs a command behind a load balancer between sockets and network, in a mount and a network namespace of its own:
# unshare -nm behind-balancer.sh SERVICE PORT BACKEND RANGE COMMAND…. Exits with 77 where this host has no permission for it,
# or no cgroup v2, BPF or python3.
service=$1 port=$2 backend=$3 range=$4
shift 4
mount --make-rprivate / && ip link set lo up && ip route add "$service" dev lo || exit 77
echo "$range" > /proc/sys/net/ipv4/ip_local_port_range
folder=$(mktemp -d) && mount -t cgroup2 none "$folder" || exit 77
group=$folder/selfconnect-$$
mkdir "$group" || exit 77
python3 "${BASH_SOURCE%/*}/load-balancer.py" "$group" "$service" "$port" "$backend" || { rmdir "$group"; exit 77; }
(sh -c 'echo $PPID' > "$group/cgroup.procs"; exec "$@")
status=$?
sleep 0.1
rmdir "$group"
umount "$folder"
rmdir "$folder"
exit $status
