#!/usr/bin/env bash
# Checks the requests of package rocketchat with the vendor's own request schemas.
# Needs node 20 or newer, npm with its registry, and go.
set -euo pipefail
cd "$(dirname "$0")"

typings=@rocket.chat/rest-typings@8.8.1
integrity=sha512-xroFtQckTsOE1Mb9pk3rHsJkdwqqxhMZfi7kNjKdlVVTpMOuVVRIjicZOV7sAacedIHyxfuI4Cxv1nIA2eEI8A==

npm ci --no-audit --no-fund --silent
rm -rf vendor && mkdir vendor
archive=vendor/$(npm pack --silent --pack-destination vendor "$typings" | tail -n 1)
got=sha512-$(openssl dgst -sha512 -binary "$archive" | base64 -w 0)
if [ "$got" != "$integrity" ]; then
	echo "checksum of $typings has changed: $got" >&2
	exit 1
fi
tar -xzf "$archive" -C vendor

requests=$PWD/requests.jsonl
rm -f "$requests"
BRIDGE_TEST_ROCKETCHAT_REQUESTS=$requests go test -count=1 -run '^TestRequestsOfAWholeRunAreRecorded$' ../..
node validate.mjs "$requests"
