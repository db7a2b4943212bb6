package sqlite

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"cobrowse-bridge/bridge/store/engine"
)

func TestDisksThatCanDamageTheDatabaseAreNamed(t *testing.T) {
	t.Parallel()
	mounts := filepath.Join(t.TempDir(), "mountinfo")
	if err := os.WriteFile(mounts, []byte(`22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:50 / /mnt/remote rw shared:1 - fuse.sshfs me@host:/ rw
41 40 8:2 / /mnt/remote/ntfs rw - fuseblk /dev/sdb1 rw
42 22 0:51 / /mnt/with\040space rw - fuse.s3fs s3fs rw
43 22 0:52 / /mnt/overlay rw - fuse.fuse-overlayfs overlay rw
44 22 0:53 / /mnt/odd rw - fuse.somethingfs something rw
a line that is not one of mountinfo
`), 0o600); err != nil {
		t.Fatal(err)
	}
	const ext4, tmpfs, overlay, xfs = 0xEF53, 0x01021994, 0x794C7630, 0x58465342
	for _, test := range []struct {
		folder           string
		kind             int64
		network, unknown string
	}{
		{"/var/lib/bridge", ext4, "", ""},
		{"/var/lib/bridge", tmpfs, "", ""},
		{"/var/lib/bridge", overlay, "", ""},
		{"/var/lib/bridge", xfs, "", ""},
		{"/var/lib/bridge", 0x6969, "nfs", ""},
		{"/var/lib/bridge", 0xFF534D42, "cifs", ""},
		{"/var/lib/bridge", 0xFE534D42, "smb2", ""},
		{"/var/lib/bridge", 0x517B, "smb", ""},
		{"/var/lib/bridge", 0x00C36400, "ceph", ""},
		{"/var/lib/bridge", 0x01021997, "", "9p"},
		{"/mnt/remote", fuse, "fuse.sshfs", ""},
		{"/mnt/remote/a/b", fuse, "fuse.sshfs", ""},
		{"/mnt/remote/ntfs/b", fuse, "", ""},
		{"/mnt/with space/b", fuse, "fuse.s3fs", ""},
		{"/mnt/overlay", fuse, "", ""},
		{"/mnt/odd", fuse, "", "fuse.somethingfs"},
	} {
		var f engine.Facts
		inspectDiskBy(test.folder, func(at string, disk *syscall.Statfs_t) error {
			if at != test.folder {
				t.Errorf("asks about %s", at)
			}
			disk.Type, disk.Bavail, disk.Bsize = test.kind, 10, 4096
			return nil
		}, mounts, &f)
		if f.Network != test.network || f.Unknown != test.unknown || !f.FreeKnown || f.Free != 40960 {
			t.Errorf("%s on %x: %+v", test.folder, test.kind, f)
		}
	}
	var f engine.Facts
	inspectDiskBy("/nowhere", func(string, *syscall.Statfs_t) error { return syscall.ENOENT }, mounts, &f)
	if f != (engine.Facts{}) {
		t.Errorf("without an answer: %+v", f)
	}
}
