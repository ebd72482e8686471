// Package mta runs mail transfer agents for measurements: this gateway and the peers that it is measured against, each with
// its own configuration and queue in a folder of the caller's, on loopback ports that nobody else uses. It never touches
// an instance that the system runs. It tells what the agent's whole process tree costs: CPU, anonymous memory, sync calls.
// Linux only: it reads /proc.
package mta

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is what /proc/PID/stat counts CPU time in: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Use is what a tree of processes has taken so far.
type Use struct {
	CPU time.Duration // user and system, those that have ended and were waited for included
	// Anonymous is memory that belongs to the processes alone, Mapped what are pages of files (the queue's index among
	// them, which the kernel takes back as it likes). Octets.
	Anonymous, Mapped int64
	Processes         int
}

// Tree adds up a process and all below it. Processes that end while it looks are left out: their time shows in their
// parent's from then on.
func Tree(pid int) (Use, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return Use{}, err
	}
	all := map[int]stat{}
	children := map[int][]int{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(b)
		if err != nil {
			return Use{}, fmt.Errorf("%s: %w", n, err)
		}
		all[s.pid] = s
		children[s.parent] = append(children[s.parent], s.pid)
	}
	if _, ok := all[pid]; !ok {
		return Use{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	var u Use
	for todo := []int{pid}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], children[p]...)
		u.CPU += all[p].cpu
		u.Processes++
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		u.Anonymous += field(status, "RssAnon")
		u.Mapped += field(status, "RssFile")
	}
	return u, nil
}

// stat is what matters of /proc/PID/stat (proc(5)).
type stat struct {
	pid, parent int
	cpu         time.Duration
}

var errStat = errors.New("not the form of proc(5)")

func parseStat(b []byte) (stat, error) {
	// The name, in brackets, may hold anything.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return stat{}, errStat
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	if err != nil {
		return stat{}, errStat
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 15 {
		return stat{}, errStat
	}
	s := stat{pid: pid}
	if s.parent, err = strconv.Atoi(f[1]); err != nil {
		return stat{}, errStat
	}
	for _, v := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return stat{}, errStat
		}
		s.cpu += time.Duration(n) * clockTick
	}
	return s, nil
}

// field reads one "Name: 123 kB" line of /proc/PID/status, in octets; 0 when it is not there.
func field(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			if f := bytes.Fields(v); len(f) > 0 {
				if n, err := strconv.ParseInt(string(f[0]), 10, 64); err == nil {
					return n << 10
				}
			}
		}
	}
	return 0
}
