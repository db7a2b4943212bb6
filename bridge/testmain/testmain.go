// Package testmain makes tests faster. Call Setup in TestMain.
package testmain

import (
	"flag"
	"os"
	"runtime"
	"strconv"
)

// memory is a file system in memory, on Linux, and enough how many bytes must be free there.
const (
	memory = "/dev/shm"
	enough = 1 << 30
)

// Setup lets the temporary files of tests be in memory, if TMPDIR is not set: most tests have a
// database of their own, and wait for the disk at each write. Benchmarks measure the disk too, so
// their files stay there. parallel is how many tests run in parallel for each processor, for tests
// that mostly wait; 0 means one, as usual. The flag -parallel overrides it.
func Setup(parallel int) {
	if parallel > 0 {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel*runtime.GOMAXPROCS(0)))
	}
	flag.Parse()
	benchmarks := flag.Lookup("test.bench").Value.String() != ""
	if !benchmarks && os.Getenv("TMPDIR") == "" && free(memory) >= enough {
		_ = os.Setenv("TMPDIR", memory) // an error leaves the files on the disk
	}
}
