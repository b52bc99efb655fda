#!/bin/sh
# Makes what docker-compose.yml needs and must not be in the repository: files with random passwords, and the key of the
# cluster, in deploy/secrets. What is there already stays as it is, and what a .env of an earlier version has is taken.
set -eu
cd "$(dirname "$0")/.."
umask 077

random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# deploy/secrets keeps others of this machine out. Inside, the containers' users must be able to read.
mkdir -p deploy/secrets/cluster
chmod 755 deploy/secrets/cluster

# keep NAME writes its input into a file, unless there is one.
keep() {
  if [ ! -s "deploy/secrets/$1" ]; then
    cat >"deploy/secrets/$1"
    chmod 444 "deploy/secrets/$1"
    echo "secrets: made deploy/secrets/$1"
  fi
}

# secret NAME BYTES VARIABLE makes a secret; that of a .env is one that a database knows already.
secret() {
  before=
  if [ -e .env ]; then before=$(sed -n "s/^$3=//p" .env); fi
  printf %s "${before:-$(random "$2")}" | keep "$1"
}

secret redis-password 24 REDIS_PASSWORD
secret postgres-password 24 POSTGRES_PASSWORD
secret grafana-password 12 GRAFANA_PASSWORD
secret jwt-secret 32 JWT_SECRET
printf 'postgres://edgecache:%s@postgres:5432/edgecache?sslmode=disable' "$(cat deploy/secrets/postgres-password)" | keep database-url
head -c 32 /dev/urandom | base64 | keep cluster/cluster.keys

if [ ! -e .env ]; then
  echo "SAMPLE_USERS=${SAMPLE_USERS:-0}" >.env
  echo 'secrets: made .env, which has none'
elif grep -Eq '^(REDIS_PASSWORD|POSTGRES_PASSWORD|GRAFANA_PASSWORD|JWT_SECRET)=' .env; then
  echo 'secrets: .env still has secrets, which nothing reads any more: take them out'
fi
