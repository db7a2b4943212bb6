#!/bin/sh
# Makes the user of the bridge and its folder. It starts nothing: the bridge needs settings first, and
# after an update the administrator chooses when to restart it.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
  systemd-sysusers cobrowse-bridge.conf
elif ! getent passwd bridge >/dev/null; then
  if command -v adduser >/dev/null 2>&1 && [ -e /etc/debian_version ]; then
    adduser --system --group --home /var/lib/bridge --no-create-home --gecos 'Co-browse bridge' bridge
  else
    useradd --system --user-group --home-dir /var/lib/bridge --no-create-home --shell /usr/sbin/nologin --comment 'Co-browse bridge' bridge
  fi
fi
install -d -o bridge -g bridge -m 700 /var/lib/bridge

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  if systemctl --quiet is-active bridge.service; then
    echo 'The bridge still runs the version before. Back up its database, then: systemctl restart bridge'
  fi
fi
