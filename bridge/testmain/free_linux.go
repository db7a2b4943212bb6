package testmain

import "golang.org/x/sys/unix"

// free returns how many bytes are free in a folder, or 0 if it is not in memory or programs cannot
// be started there.
func free(folder string) uint64 {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil || s.Type != unix.TMPFS_MAGIC || s.Flags&unix.ST_NOEXEC != 0 {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}
