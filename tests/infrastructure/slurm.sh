# Slurm of one node, with accounting: munge, MariaDB, slurmdbd, slurmctld, slurmd. Read by `services`.

CONTROL_PORT=16817 NODE_PORT=16818 ACCOUNTING_PORT=16819
CLUSTER=mghdiff ACCOUNT=my_project
CPUS=4 MEMORY_MB=16000   # of the node, whatever the machine has (config_overrides)
NODE=$(hostname -s)
MUNGE_SOCKET=$ROOT/munge/socket
DATABASE_SOCKET=$ROOT/mariadb.run/s
export SLURM_CONF=$ROOT/etc/slurm.conf

up_munge() {
    ! runs munge || return 0
    folder munge 700 "$ROOT/munge.private"
    folder munge 755 "$ROOT/munge"
    local key=$ROOT/munge.private/key
    [ -s "$key" ] || head -c 128 /dev/urandom > "$key"
    chown munge:munge "$key"
    chmod 400 "$key"
    # without --force munged refuses a folder like /tmp above its socket, to which others can write
    start munge munge munged --foreground --force --key-file="$key" --socket="$MUNGE_SOCKET" --num-threads=2 \
        --pid-file="$ROOT/munge/pid" --log-file="$ROOT/munge.private/log" --seed-file="$ROOT/munge.private/seed"
    wait_for munge test -S "$MUNGE_SOCKET"
}

database() { mariadb --no-defaults --socket="$DATABASE_SOCKET" "$@"; }

up_mariadb() {
    ! runs mariadb || return 0
    folder mysql 755 "$ROOT/mariadb.run"
    folder mysql 700 "$ROOT/mariadb"
    [ -d "$ROOT/mariadb/mysql" ] ||
        mariadb-install-db --no-defaults --user=mysql --datadir="$ROOT/mariadb" > "$ROOT/log/mariadb.install" 2>&1
    start mariadb mysql mariadbd --no-defaults --datadir="$ROOT/mariadb" --socket="$DATABASE_SOCKET" --skip-networking \
        --innodb-buffer-pool-size=64M --pid-file="$ROOT/mariadb.run/pid"
    wait_for mariadb database -e 'select 1'
    # no password, since the socket knows the user
    database -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
        CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
        GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
}

up_slurmdbd() {
    ! runs slurmdbd || return 0
    must_be_free slurmdbd $ACCOUNTING_PORT
    folder slurm 755 "$ROOT/slurmdbd"
    cat > "$ROOT/etc/slurmdbd.conf" << CONF
AuthType=auth/munge
AuthInfo=socket=$MUNGE_SOCKET
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$ACCOUNTING_PORT
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
PidFile=$ROOT/slurmdbd/pid
CommunicationParameters=NoInAddrAny
CONF
    chown slurm "$ROOT/etc/slurmdbd.conf"
    chmod 600 "$ROOT/etc/slurmdbd.conf"   # slurmdbd refuses another owner or mode
    write_slurm_conf
    start slurmdbd slurm env MYSQL_UNIX_PORT="$DATABASE_SOCKET" slurmdbd -D
    wait_for slurmdbd listens $ACCOUNTING_PORT
}

write_slurm_conf() {
    cat > "$SLURM_CONF" << CONF
ClusterName=$CLUSTER
SlurmctldHost=$NODE(127.0.0.1)
SlurmctldPort=$CONTROL_PORT
SlurmdPort=$NODE_PORT
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$MUNGE_SOCKET
CredType=cred/munge
SlurmUser=slurm
SlurmdUser=root
StateSaveLocation=$ROOT/slurmctld
SlurmdSpoolDir=$ROOT/slurmd
SlurmctldPidFile=$ROOT/slurmctld/pid
SlurmdPidFile=$ROOT/slurmd/pid
# no cgroups: the processes of a job are the descendants of its step
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
# without cgroups this ends a job that takes too much memory
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# the node has as many CPUs as this file states
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=15
MailProg=/bin/true
EnforcePartLimits=ALL
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$ACCOUNTING_PORT
# here sacct and sacctmgr find munge's socket
AccountingStoragePass=$MUNGE_SOCKET
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
GresTypes=gpu
DefMemPerCPU=3000
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEMORY_MB Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$NODE Default=YES MaxTime=1-00:00:00 DefaultTime=00:30:00 State=UP
PartitionName=short Nodes=$NODE MaxTime=00:01:00 DefaultTime=00:01:00 State=UP
# the partitions that the pages name
PartitionName=long Nodes=$NODE MaxTime=1-00:00:00 DefaultTime=00:30:00 State=UP
PartitionName=gpu Nodes=$NODE MaxTime=1-00:00:00 DefaultTime=00:30:00 State=UP
CONF
    echo "NodeName=$NODE Name=gpu File=/dev/null" > "$ROOT/etc/gres.conf"
    # srun in a job, and `su -` of --get-user-env, do not know SLURM_CONF, but look here
    mkdir -p /etc/slurm
    [ ! -e /etc/slurm/slurm.conf ] || [ -L /etc/slurm/slurm.conf ] ||
        die '/etc/slurm/slurm.conf belongs to another Slurm: the services need this path.'
    ln -sfn "$SLURM_CONF" /etc/slurm/slurm.conf
}

up_slurmctld() {
    ! runs slurmctld || return 0
    must_be_free slurmctld $CONTROL_PORT
    folder slurm 755 "$ROOT/slurmctld"
    start slurmctld slurm slurmctld -D -f "$SLURM_CONF"
    wait_for slurmctld is_cluster_known
    sacctmgr_knows account name=$ACCOUNT || sacctmgr -i add account $ACCOUNT Description=tests Organization=mghdiff > /dev/null
    sacctmgr_knows user name="$HPC_USER" || sacctmgr -i add user "$HPC_USER" Account=$ACCOUNT > /dev/null
}

is_cluster_known() { scontrol ping | grep -q UP && sacctmgr -n list cluster | grep -q $CLUSTER; }

sacctmgr_knows() { [ -n "$(sacctmgr -nP list "$@")" ]; }

up_slurmd() {
    runs slurmd || {
        must_be_free slurmd $NODE_PORT
        folder root 755 "$ROOT/slurmd"
        start slurmd root slurmd -D -f "$SLURM_CONF"
    }
    wait_for slurmd is_node_up
}

is_node_up() {
    case $(sinfo --noheader --format=%T --partition=main) in
        idle | mixed | allocated) return 0 ;;
        down* | drain*) scontrol update NodeName="$NODE" State=RESUME ;;
    esac
    return 1
}

cancel_jobs() {
    runs slurmctld || return 0
    timeout 10 scancel --user="$HPC_USER" || true
    for _ in $(seq 80); do [ -n "$(timeout 10 squeue --noheader)" ] || break; sleep 0.25; done
}
