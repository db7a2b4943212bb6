#!/usr/bin/env bash
# Builds the image from bin/image/ without a registry or a container engine, and runs its program as
# the image's user with a read-only root: check, serve, healthcheck, stop. Needs root and buildah.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v buildah >/dev/null || { echo 'image-test skipped: buildah is not installed (apt-get install buildah)'; exit 0; }
[ "$(id -u)" = 0 ] || { echo 'image-test skipped: only root can change the root folder'; exit 0; }

work=$(mktemp -d)
b() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
container=
clean() { [ -z "$container" ] || b umount "$container" >/dev/null || true; rm -rf "$work"; }
trap clean EXIT

image=localhost/cobrowse-bridge
b bud --quiet --isolation chroot --format docker --target prebuilt -f deploy/Dockerfile -t $image . >/dev/null
config=$(b inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Entrypoint}} {{.Docker.Config.Cmd}} {{.Docker.Config.Volumes}} {{.Docker.Config.Healthcheck.Test}} {{.Docker.Config.Env}}' $image)
want='65532:65532 [/bridge] [serve] map[/data:{}] [CMD /bridge healthcheck] [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin BRIDGE_DATABASE=sqlite:/data/bridge.db]'
[ "$config" = "$want" ] || { printf 'the image is configured as\n%s\nwant\n%s\n' "$config" "$want"; exit 1; }
container=$(b from $image)
root=$(b mount "$container")
files=$(cd "$root" && find . -type f | sort | tr '\n' ' ')
[ "$files" = './bridge ./etc/ssl/certs/ca-certificates.crt ' ] || { echo "the image has the files $files"; exit 1; }

export root data="$work/data"
install -d -o 65532 -g 65532 -m 700 "$data"
unshare --mount bash -euo pipefail <<'IN'
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount --bind "$data" "$root/data"
! touch "$root/file" 2>/dev/null || { echo 'the root is writable'; exit 1; }
# An array, not a function: $! must be the program itself.
bridge=(env -i BRIDGE_DATABASE=sqlite:/data/bridge.db BRIDGE_LISTEN=127.0.0.1:18080 BRIDGE_METRICS_LISTEN=off
  BRIDGE_ORIGIN=https://bridge.example.org BRIDGE_SECRET=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= BRIDGE_CONNECTORS=slack
  SLACK_SIGNING_SECRET=value-of-the-signing-secret SLACK_BOT_TOKEN=xoxb-value-of-the-token UPSCOPE_API_KEY=value-of-the-upscope-key
  UPSCOPE_URL=http://127.0.0.1:1 SLACK_URL=http://127.0.0.1:1/api/ "$(command -v chroot)" --userspec=65532:65532 "$root" /bridge)
"${bridge[@]}" check --start
"${bridge[@]}" serve &
serve=$!
for _ in $(seq 300); do
  ! "${bridge[@]}" healthcheck 2>/dev/null || break
  kill -0 $serve
  sleep 0.1
done
"${bridge[@]}" healthcheck
grep -q '^Uid:.65532.65532.65532.65532$' /proc/$serve/status
status=0; "${bridge[@]}" check --start || status=$?
[ $status = 1 ] || { echo "a second bridge on the same file is answered $status"; exit 1; }
kill $serve
wait $serve
IN
echo 'image-test: the image is built, and its program serves as 65532 with a read-only root'
