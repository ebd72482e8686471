package main

import (
	"os"
	"syscall"
)

// ownFile tells a file of the user who runs this program.
func ownFile(st os.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
}
