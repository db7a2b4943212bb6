#!/usr/bin/env bash
# Checks the golden files of package slack with Slack's own types, and the manifests of
# deploy/slack with Slack's own schema, if SLACK_MANIFEST_SCHEMA is its absolute path.
# Needs node 20.11 or newer, and npm with its registry.
set -euo pipefail
cd "$(dirname "$0")"

npm ci --no-audit --no-fund --silent
node check.mjs "${SLACK_MANIFEST_SCHEMA:-}"
