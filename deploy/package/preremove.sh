#!/bin/sh
# Stops the bridge before its package is removed. deb says "remove" or "upgrade", rpm how many versions
# stay installed.
set -e

case $1 in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl disable --now bridge.socket bridge.service || true
    fi
    ;;
esac
