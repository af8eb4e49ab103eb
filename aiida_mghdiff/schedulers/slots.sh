# ---- mghdiff.direct: wait for a free slot, then run the rest of this script within its wall time ----
# The scheduler plugin calls this script with `queue`; without an argument (by hand) the job simply runs.
# Locks are flocks on open files: a process that dies, even by SIGKILL or a power cut, releases them.
# The process keeps its id from queue to end; `ps` shows its state as its name (exec -a).
mghdiff_folder=../../../.mghdiff-direct
mghdiff_limit=@LIMIT@
mghdiff_grace=@GRACE@
mghdiff_log=@LOG@
mghdiff_id=.mghdiff-job-id

# The ticket before mine, or nothing; glob order is the order of submission.
mghdiff_predecessor() {
    local ticket last=
    for ticket in "$mghdiff_folder"/queue/*; do
        [[ "$ticket" == "$mghdiff_ticket" ]] && break
        last=$ticket
    done
    echo "$last"
}

mghdiff_leave_queue() {
    kill $(jobs -p) 2> /dev/null
    rm -f "$mghdiff_ticket"
    exit 143
}

# On its own line, whatever a login shell prints before or after it.
mghdiff_print_id() {
    printf '\nmghdiff-job %s\n' "$1"
}

# A job is submitted again if its submitter was killed before it stored the job id. The job must not run twice.
# Earlier versions wrote only the number.
mghdiff_claim_folder() {
    local claimed
    if [[ -s "$mghdiff_id" ]]; then
        claimed=$(< "$mghdiff_id")
        mghdiff_print_id "${claimed##*[!0-9]}"
        exit
    fi
    mghdiff_print_id "$$" > "$mghdiff_id"
}

# fd 9 locks the ticket from its creation; because of the common lock no process can see it unlocked.
mghdiff_take_ticket() {
    mkdir -p "$mghdiff_folder/queue" || exit 1
    exec 8>> "$mghdiff_folder/lock"
    flock 8 || exit 1
    mghdiff_claim_folder
    mghdiff_ticket=$mghdiff_folder/queue/$(date +%s%N)-$$
    exec 9> "$mghdiff_ticket"
    flock 9 || exit 1
    trap mghdiff_leave_queue TERM INT
    exec 8>&-
}

# This part does not poll: each waiting process sleeps on the lock of the process before it.
mghdiff_wait_for_turn() {
    local ticket
    while ticket=$(mghdiff_predecessor); [[ -n "$ticket" ]]; do
        flock --shared 6 6< "$ticket" 9>&- &
        wait "$!" && rm -f "$ticket"
    done
}

# Only the head of the queue polls. It reads the number of slots anew each time, because the number may change.
mghdiff_wait_for_slot() {
    local slots slot
    while true; do
        slots=1
        read -r slots 2> /dev/null < "$mghdiff_folder/slots"
        for ((slot = 1; slot <= slots; slot++)); do
            exec 7>> "$mghdiff_folder/slot.$slot"
            flock --nonblock 7 && return
        done
        exec 7>&-
        sleep 0.5 9>&- &
        wait "$!"
    done
}

# `timeout` makes the job its own process group and passes a TERM (a kill) to the whole group.
# It also keeps fd 7, the slot, open: if this process is killed by force, the job still occupies its slot.
mghdiff_run() {
    local job status
    trap 'kill -TERM "$!" 2> /dev/null || exit 143' TERM INT
    timeout --kill-after="$mghdiff_grace" "$mghdiff_limit" bash "$0" job &
    job=$!
    while true; do
        wait "$job"
        status=$?
        kill -0 "$job" 2> /dev/null || break
    done
    kill -KILL -- "-$job" 2> /dev/null
    if ((mghdiff_limit > 0 && SECONDS >= mghdiff_limit && (status == 124 || status == 137))); then
        echo "mghdiff.direct: the job was ended at its wall time limit of $mghdiff_limit s" >> "$mghdiff_log"
    fi
    exit "$status"
}

case "${1:-}" in
    queue)
        mghdiff_take_ticket
        mghdiff_print_id "$$"
        exec > /dev/null 2>&1
        mghdiff_wait_for_turn
        mghdiff_wait_for_slot
        rm -f "$mghdiff_ticket"
        exec -a mghdiff-running bash "$0" run 9>&-
        ;;
    run) mghdiff_run ;;
    job) exec 7>&- ;;
esac
# ---- the job itself ----
