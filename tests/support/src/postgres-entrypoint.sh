#!/bin/bash
# As the official image's entry point: makes the cluster at the first start, from POSTGRES_* and their _FILE forms.
set -e
if [ "$1" != postgres ]; then
    exec "$@"
fi
shift
if [ -n "$POSTGRES_PASSWORD_FILE" ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
fi
as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
user=${POSTGRES_USER:-postgres}
mkdir -p "$PGDATA" /run/postgresql
chown postgres:postgres "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    echo "${POSTGRES_PASSWORD:?}" > "$password"
    chown postgres "$password"
    "${as_postgres[@]}" initdb -U "$user" -A scram-sha-256 --pwfile="$password" -E UTF8 --locale=C.UTF-8 -D "$PGDATA" > /dev/null
    rm -f "$password"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    "${as_postgres[@]}" pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start > /dev/null
    export PGPASSWORD=$POSTGRES_PASSWORD
    if [ -n "$POSTGRES_DB" ] && [ "$POSTGRES_DB" != postgres ]; then
        "${as_postgres[@]}" psql -q -U "$user" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    fi
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -f "$script" ] || "${as_postgres[@]}" psql -q -U "$user" -d "${POSTGRES_DB:-postgres}" -f "$script"
    done
    unset PGPASSWORD
    "${as_postgres[@]}" pg_ctl -D "$PGDATA" -m fast -w stop > /dev/null
fi
exec "${as_postgres[@]}" postgres -D "$PGDATA" -c listen_addresses='*' -c jit=off "$@"
