#!/bin/sh
# A Slurm cluster of one node on this machine, for tests; as root, with Debian's packages:
#     apt-get install slurmctld slurmd slurm-client munge
#
#     cluster.sh start DIR        everything lives in DIR; then SLURM_CONF=DIR/slurm.conf srun hostname
#     cluster.sh kill-node DIR    the node's daemon dies; what it started lives on
#     cluster.sh start-node DIR   and comes back
#     cluster.sh stop DIR         ends jobs and daemons, and removes DIR
set -eu

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || usage
command=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
export SLURM_CONF="$dir/slurm.conf"
PATH=$PATH:/usr/sbin

write_settings() {
    mkdir -m 755 -p "$dir/ctld" "$dir/node" "$dir/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge/key")
    echo "CgroupPlugin=cgroup/v1" >"$dir/cgroup.conf"
    cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/ctld
SlurmdSpoolDir=$dir/node
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SchedulerParameters=sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000
PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 MaxTime=1-0
PartitionName=urgent Nodes=ALL PriorityTier=2 MaxTime=1-0
END
}

start_node() {
    slurmd -f "$SLURM_CONF"
}

start() {
    for program in munged slurmctld slurmd srun; do
        if ! command -v $program >/dev/null; then
            echo "cluster.sh: $program is missing: apt-get install slurmctld slurmd slurm-client munge" >&2
            exit 3
        fi
    done
    write_settings
    munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge/seed"
    slurmctld -f "$SLURM_CONF"
    start_node
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%T --partition=normal 2>/dev/null)" = idle ]; then
            return
        fi
        sleep 0.5
    done
    echo "cluster.sh: the node is not up after 30 s; see $dir/*.log" >&2
    exit 1
}

end() { # NAME SIGNAL: the process of a pid file, if it is there, and wait for it
    [ -s "$dir/$1.pid" ] || return 0
    pid=$(cat "$dir/$1.pid")
    kill "-$2" "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$dir/$1.pid"
}

stop() {
    if [ -s "$dir/slurmctld.pid" ]; then
        [ -s "$dir/slurmd.pid" ] || start_node # to end what it left behind
        scancel --user="$(id -un)" || true
        for _ in $(seq 60); do
            [ -n "$(squeue --noheader 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    end slurmd TERM
    end slurmctld TERM
    end munged TERM
    rm -rf "$dir"
}

case $command in
start) start ;;
kill-node) end slurmd KILL ;;
start-node) start_node ;;
stop) stop ;;
*) usage ;;
esac
