# PostgreSQL and RabbitMQ, for a profile of AiiDA. Read by `services`.

POSTGRESQL_PORT=16832 EPMD_PORT=16869 AMQP_PORT=16872 ERLANG_PORT=16873

up_postgresql() {
    ! runs postgresql || return 0
    must_be_free postgresql $POSTGRESQL_PORT
    folder postgres 700 "$ROOT/postgresql"
    folder postgres 755 "$ROOT/postgresql.run"
    local programs
    programs=$(dirname "$(ls -v /usr/lib/postgresql/*/bin/postgres | tail -n 1)")
    [ -s "$ROOT/postgresql/PG_VERSION" ] || as_postgres "$programs/initdb" --pgdata="$ROOT/postgresql" --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 > "$ROOT/log/postgresql.initdb" 2>&1
    start postgresql postgres "$programs/postgres" -D "$ROOT/postgresql" -h 127.0.0.1 -p $POSTGRESQL_PORT \
        -k "$ROOT/postgresql.run"
    wait_for postgresql query 'select 1'
    [ -n "$(query "select 1 from pg_roles where rolname = 'aiida'")" ] || query 'create user aiida createdb'
}

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }

query() { psql --no-psqlrc -qAt -h 127.0.0.1 -p $POSTGRESQL_PORT -U postgres -d postgres -c "$1"; }

# Erlang's port mapper; without it RabbitMQ would start one that listens to everybody and outlives RabbitMQ
up_epmd() {
    ! runs epmd || return 0
    must_be_free epmd $EPMD_PORT
    start epmd rabbitmq epmd -address 127.0.0.1 -port $EPMD_PORT
    wait_for epmd listens $EPMD_PORT
}

up_rabbitmq() {
    ! runs rabbitmq || return 0
    must_be_free rabbitmq $AMQP_PORT
    must_be_free rabbitmq $ERLANG_PORT
    folder rabbitmq 700 "$ROOT/rabbitmq"
    # AiiDA acknowledges a task when its process ends, which may take days
    echo '[{rabbit, [{consumer_timeout, undefined}]}].' > "$ROOT/etc/rabbitmq.config"
    # with RUNNING_UNDER_SYSTEMD the script becomes the server instead of its parent
    start rabbitmq rabbitmq env HOME="$ROOT/rabbitmq" RUNNING_UNDER_SYSTEMD=yes \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$EPMD_PORT ERL_MAX_PORTS=1024 \
        RABBITMQ_NODENAME=mghdiff@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$AMQP_PORT \
        RABBITMQ_DIST_PORT=$ERLANG_PORT RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_MNESIA_BASE="$ROOT/rabbitmq/mnesia" RABBITMQ_LOGS=- \
        RABBITMQ_ADVANCED_CONFIG_FILE="$ROOT/etc/rabbitmq.config" RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_ENABLED_PLUGINS_FILE="$ROOT/rabbitmq/plugins" /usr/lib/rabbitmq/bin/rabbitmq-server
    wait_for rabbitmq listens $AMQP_PORT
}
