#!/usr/bin/env bash
# Images of every server and of Holdfast, built from Debian's packages, Maven Central and PyPI alone: for a machine that has Docker but
# no registry of images. Needs root, Debian and a Docker daemon. Prints the variables that make docker-compose.yml use them.
#
#   docker/build-local.sh > .env && docker compose up -d
#
# Grafana is in none of these sources: its service is left out (GRAFANAS=0). Compose would fetch its image all the same, so another stands in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-.venv/bin/python}
TAG=${TAG:-local}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export DOCKER_BUILDKIT=0  # no plugin is needed

say() { echo "$*" >&2; }
have() { docker image inspect "$1" >/dev/null 2>&1; }
build() { # image, context, options...
  local image=$1 context=$2; shift 2
  have "$image" && [ -z "${REBUILD:-}" ] && return
  say "building $image"
  docker build --network host -q -t "$image" "$@" "$context" >&2
}
base() { # image, packages: Debian with packages
  build "$1" "$WORK/debian" -f docker/debian/Dockerfile --build-arg "DEBIAN_IMAGE=holdfast-debian:$TAG" --build-arg "PACKAGES=$2"
}

if ! have "holdfast-debian:$TAG"; then
  say "building holdfast-debian:$TAG"
  site=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Component: main' 'Label: Debian' | head -1)
  debootstrap --variant=minbase bookworm "$WORK/root" "$site" >&2
  tar -C "$WORK/root" -c . | docker import - "holdfast-debian:$TAG" >&2
fi
mkdir -p "$WORK/debian/sources"
cp /etc/ssl/certs/ca-certificates.crt "$WORK/debian/"
# The archive that this machine uses, main alone: its keys are in the image.
apt-get indextargets --format 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(SITE) $(CODENAME) main' \
  'Origin: Debian' 'Component: main' | sort -u | grep -v backports >"$WORK/debian/sources/debian.list"

say "fetching what comes from Maven Central and Debian's next release"
eval "$("$PYTHON" - <<'END'
import shlex
from pathlib import Path
from holdfast.stack import apicurio, debian, kafka, mysql
from holdfast.stack.home import Home
home = Home.from_environment()
home.create()
print("JARS=" + shlex.quote(str(kafka.jars(home))))
print("MYSQL=" + shlex.quote(str(debian.unpacked(home, mysql.SUITE, mysql.PACKAGE))))
print("APICURIO=" + shlex.quote(str(apicurio.application(home))))
print("JAVA=" + shlex.quote(str(Path(apicurio.java()).resolve().parents[1])))
END
)"

base "holdfast-base-java:$TAG" "default-jre-headless"
base "holdfast-base-plain:$TAG" "curl mariadb-client"
base "holdfast-base-redis:$TAG" "redis-server"
base "holdfast-base-prometheus:$TAG" "prometheus"
base "holdfast-python:$TAG" "python3.11 python3.11-venv python3.11-dev ca-certificates"

context() { # folder: a build context of links to what is in the cache
  rm -rf "$WORK/context"; mkdir -p "$WORK/context"; [ -z "$1" ] || cp -r "$1/." "$WORK/context/"
}
context docker/kafka; cp -r "$JARS" "$WORK/context/libs"; cp holdfast/stack/kafka.log4j2.properties "$WORK/context/log4j2.properties"
build "holdfast-kafka:$TAG" "$WORK/context" --build-arg "BASE_IMAGE=holdfast-base-java:$TAG"
context docker/mysql; cp -r "$MYSQL" "$WORK/context/root"
build "holdfast-mysql:$TAG" "$WORK/context" --build-arg "BASE_IMAGE=holdfast-base-plain:$TAG"
context docker/registry; cp -r "$APICURIO" "$WORK/context/app"; cp -r "$JAVA" "$WORK/context/java"
build "holdfast-registry:$TAG" "$WORK/context" --build-arg "BASE_IMAGE=holdfast-base-plain:$TAG"
context ""
build "holdfast-redis:$TAG" "$WORK/context" -f docker/redis.Dockerfile --build-arg "BASE_IMAGE=holdfast-base-redis:$TAG"
build "holdfast-prometheus:$TAG" "$WORK/context" -f docker/prometheus.Dockerfile --build-arg "BASE_IMAGE=holdfast-base-prometheus:$TAG"
REBUILD=1 build "holdfast:$TAG" . --build-arg "PYTHON_IMAGE=holdfast-python:$TAG"

cat <<END
HOLDFAST_IMAGE=holdfast:$TAG
KAFKA_IMAGE=holdfast-kafka:$TAG
MYSQL_IMAGE=holdfast-mysql:$TAG
REDIS_IMAGE=holdfast-redis:$TAG
REGISTRY_IMAGE=holdfast-registry:$TAG
PROMETHEUS_IMAGE=holdfast-prometheus:$TAG
GRAFANAS=0
GRAFANA_IMAGE=holdfast-prometheus:$TAG
END
