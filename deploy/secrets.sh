#!/bin/sh
# Makes what docker-compose.yml needs and must not be in the repository: .env with random passwords, and the key of the
# cluster. What is there already stays as it is.
set -eu
cd "$(dirname "$0")/.."
umask 077

random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

if [ ! -e .env ]; then
  {
    echo "REDIS_PASSWORD=$(random 24)"
    echo "POSTGRES_PASSWORD=$(random 24)"
    echo "GRAFANA_PASSWORD=$(random 12)"
    echo "JWT_SECRET=$(random 32)"
    echo "SAMPLE_USERS=${SAMPLE_USERS:-0}"
  } >.env
  echo 'secrets: made .env'
fi

# deploy/secrets keeps others of this machine out. Inside, the container's user 65532 must be able to read.
mkdir -p deploy/secrets/cluster
chmod 755 deploy/secrets/cluster
keys=deploy/secrets/cluster/cluster.keys
if [ ! -e "$keys" ]; then
  head -c 32 /dev/urandom | base64 >"$keys"
  chmod 444 "$keys"
  echo "secrets: made $keys"
fi
