# sshd for the ordinary user, with keys of its own. Read by `services`.
#
# `ssh -F $ROOT/ssh/config mycluster` opens a session.

SSH_PORT=16822

up_sshd() {
    ! runs sshd || return 0
    must_be_free sshd $SSH_PORT
    local keys=$ROOT/ssh name
    folder root 755 "$keys"
    for name in host user; do
        [ -s "$keys/$name" ] || ssh-keygen -q -t ed25519 -N '' -C mghdiff-tests -f "$keys/$name"
    done
    write_ssh_configurations "$keys"
    mkdir -p /run/sshd
    start sshd root "$(command -v sshd)" -D -e -f "$keys/sshd_config"   # sshd must be started by its full path
    wait_for sshd ssh -F "$keys/config" mycluster true
}

write_ssh_configurations() {  # FOLDER
    echo "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1,2 "$1/host.pub")" > "$1/known_hosts"
    # StrictModes would refuse keys below a folder like /tmp, to which others can write
    cat > "$1/sshd_config" << CONF
Port $SSH_PORT
ListenAddress 127.0.0.1
HostKey $1/host
PidFile none
AllowUsers $HPC_USER
AuthorizedKeysFile $1/user.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
PrintMotd no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
CONF
    cat > "$1/config" << CONF
Host mycluster
    HostName 127.0.0.1
    Port $SSH_PORT
    User $HPC_USER
    IdentityFile $1/user
    IdentitiesOnly yes
    UserKnownHostsFile $1/known_hosts
    StrictHostKeyChecking yes
CONF
}
