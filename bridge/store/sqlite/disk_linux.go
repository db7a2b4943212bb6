package sqlite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"cobrowse-bridge/bridge/store/engine"
)

// networkDisks are the file systems on which SQLite's locks and its shared memory do not work between
// machines, or not reliably (sqlite.org/wal.html, sqlite.org/howtocorrupt.html). The numbers are those of
// statfs(2) and linux/magic.h.
var networkDisks = map[uint32]string{
	0x6969:     "nfs",
	0x517B:     "smb",
	0xFF534D42: "cifs",
	0xFE534D42: "smb2",
	0x00C36400: "ceph",
	0x5346414F: "afs",
	0x73757245: "coda",
	0x564C:     "ncp",
	0x0BD00BD0: "lustre",
	0x47504653: "gpfs",
	0x19830326: "beegfs",
}

const (
	fuse   = 0x65735546
	plan9  = 0x01021997 // of hosts of virtual machines, among others
	vmware = 0xBACBACBC
)

// networkFUSE are programs of FUSE that keep files on other machines; localFUSE keep them on this one.
var (
	networkFUSE = []string{"sshfs", "s3fs", "rclone", "glusterfs", "ceph-fuse", "gcsfuse", "goofys", "juicefs", "davfs", "mount-s3", "blobfuse2", "curlftpfs", "seaweedfs"}
	localFUSE   = []string{"fuse-overlayfs", "bindfs", "lxcfs"}
)

func inspectDisk(folder string, f *engine.Facts) {
	inspectDiskBy(folder, syscall.Statfs, "/proc/self/mountinfo", f)
}

// inspectDiskBy sets the facts about the disk of a folder. mounts is the file with the mount points.
func inspectDiskBy(folder string, statfs func(string, *syscall.Statfs_t) error, mounts string, f *engine.Facts) {
	var disk syscall.Statfs_t
	if statfs(folder, &disk) != nil {
		return // opening the database says why
	}
	f.Free, f.FreeKnown = disk.Bavail*uint64(disk.Bsize), true
	kind := uint32(disk.Type) //nolint:gosec // the numbers have 32 bits
	f.Network = networkDisks[kind]
	switch kind {
	case plan9:
		f.Unknown = "9p"
	case vmware:
		f.Unknown = "vmhgfs"
	case fuse:
		// A disk driver is fuseblk, another program fuse.NAME or just fuse.
		switch kind := mountKind(folder, mounts); {
		case slices.Contains(networkFUSE, strings.TrimPrefix(kind, "fuse.")):
			f.Network = kind
		case kind != "fuseblk" && !slices.Contains(localFUSE, strings.TrimPrefix(kind, "fuse.")):
			f.Unknown = kind
		}
	}
}

// mountKind returns the type of the file system that has the folder, from a file such as
// /proc/self/mountinfo (man 5 proc_pid_mountinfo), or "fuse" if it is not known.
func mountKind(folder, mounts string) string {
	kind, longest := "fuse", ""
	content, err := os.ReadFile(mounts)
	if err != nil {
		return kind
	}
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`)
	for line := range strings.Lines(string(content)) {
		about, fileSystem, found := strings.Cut(line, " - ")
		fields := strings.Fields(about)
		if !found || len(fields) < 5 {
			continue
		}
		at := unescape.Replace(fields[4])
		inside := folder == at || strings.HasPrefix(folder, strings.TrimSuffix(at, "/")+"/")
		if inside && len(at) >= len(longest) {
			longest = at
			kind, _, _ = strings.Cut(fileSystem, " ")
		}
	}
	return kind
}
