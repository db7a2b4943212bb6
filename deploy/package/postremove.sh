#!/bin/sh
# Leaves data, settings and secrets: without BRIDGE_SECRET the stored data cannot be read any more.
set -e

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
fi
case $1 in
  remove | 0) echo 'The data of the bridge stays in /var/lib/bridge, its secrets in /etc/bridge/secrets.' ;;
esac
