#!/bin/sh
# Checks docker-compose.yml, alone and with the ports of the workflow, against the Compose specification; and that the
# check can fail. The loader is the one that go.mod and go.sum pin.
set -eu
cd "$(dirname "$0")"
go vet .
go test -count=1 .
export CLAWBACK_ISSUER=https://issuer.example CLAWBACK_JWKS_URI=https://issuer.example/keys
go run . ../../docker-compose.yml
go run . ../../docker-compose.yml ../../.github/compose.ports.yml
