#!/usr/bin/env bash
# Holds the golden files of package slack to Slack's own types, and the manifests
# of deploy/slack to Slack's own schema where that is at hand.
# Needs node 20.11 or newer, and npm with its registry.
set -euo pipefail
cd "$(dirname "$0")"

npm ci --no-audit --no-fund --silent
node check.mjs "${SLACK_MANIFEST_SCHEMA:-../../../../../shared/oracles/slack-manifest.schema.json}"
