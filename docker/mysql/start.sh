#!/bin/bash
# The server of Debian's packages with the libraries beside it, not with this image's.
set -euo pipefail
ROOT=/opt/mysql
LIBS=$(echo "$ROOT"/usr/lib/*-linux-gnu)
DATA=/var/lib/mysql
cat >/tmp/server.cnf <<END
[mysqld]
basedir=$ROOT/usr
lc-messages-dir=$ROOT/usr/share/mysql
character-sets-dir=$ROOT/usr/share/mysql/charsets
plugin-dir=$ROOT/usr/lib/mysql/plugin
secure-file-priv=NULL
datadir=$DATA
socket=/tmp/mysqld.sock
mysqlx=OFF
skip-name-resolve
skip-log-bin
END
cat >/tmp/accounts.sql <<END
CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;
CREATE USER IF NOT EXISTS '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL PRIVILEGES ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
END
if [ -n "${MYSQL_ROOT_PASSWORD:-}" ]; then
  cat >>/tmp/accounts.sql <<END
CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
END
fi
SERVER=("$ROOT"/usr/lib64/ld-linux-*.so.* --library-path "$LIBS" "$ROOT/usr/sbin/mysqld" --defaults-file=/tmp/server.cnf)
if [ ! -d "$DATA/mysql" ]; then
  "${SERVER[@]}" --initialize-insecure
fi
exec "${SERVER[@]}" --init-file=/tmp/accounts.sql "$@"
