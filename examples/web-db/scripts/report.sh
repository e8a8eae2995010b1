set -eu
PGPASSWORD=$(cat /run/secrets/db_password)
export PGPASSWORD
psql -q -c "INSERT INTO visit DEFAULT VALUES"
psql -At -c "SELECT 'This stack has been raised ' || count(*) || ' times.' FROM visit" > /pages/index.html
