//go:build !linux

package testmain

func free(string) uint64 { return 0 }
