#!/bin/bash
# KAFKA_LOG_DIRS in the environment is log.dirs in the configuration, as in the apache/kafka image.
set -euo pipefail
CONFIG=/tmp/server.properties
env | sed -n 's/^KAFKA_//p' | grep -v '^HEAP_OPTS=' | while IFS='=' read -r name value; do
  echo "$(tr 'A-Z_' 'a-z.' <<<"$name")=$value"
done >"$CONFIG"
LIBS='/opt/kafka/libs/*'
if [ ! -e "$KAFKA_LOG_DIRS/meta.properties" ]; then
  java -cp "$LIBS" kafka.tools.StorageTool format -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$CONFIG"
fi
# shellcheck disable=SC2086 (several options)
exec java ${KAFKA_HEAP_OPTS:-} -XX:+UseParallelGC -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp "$LIBS" kafka.Kafka "$CONFIG"
