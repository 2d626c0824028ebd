#!/bin/sh
# Builds the servers that tests use into .tmp/servers, with the versions that go.mod and go.sum pin.
set -eu
cd "$(dirname "$0")"
out=../../.tmp/servers
mkdir -p "$out"
go build -mod=readonly -trimpath -o "$out/ferretdb" .
