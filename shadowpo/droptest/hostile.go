// Package droptest holds what tests of the drop share: good messages and hostile files.
package droptest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// File is one hostile file.
type File struct {
	Name   string
	Make   func(t testing.TB, path string) // path ends in NAME.MSG
	Reason string                          // the reason file begins with it
}

// Hostile are files that no drop should see. Each goes to badmail with a reason of its own, and none of them keeps a
// neighbour from being taken, opens anything outside the folder, or waits for anybody. A link LINK.TXT to a file outside
// must stand beside them.
var Hostile = []File{
	{"an unknown token", text(strings.Replace(Message("x"), "SUBJECT", "COLOUR", 1)), "141-001-004 cannot match token \"COLOUR\""},
	{"a CC token", text(strings.Replace(Message("x"), "SUBJECT:x", "CC:CSI:A/B/C", 1)), "141-001-004 cannot match token CC"},
	{"no VERSION line", text(strings.TrimPrefix(Message("x"), "VERSION:3.00\r\n")), "141-001-001 a message begins with VERSION"},
	{"a VERSION from the future", text(strings.Replace(Message("x"), "3.00", "7.00", 1)), "143-001-001 version"},
	{"an address of eleven characters", text(strings.Replace(Message("x"), "MKUMAR", "ELEVENCHARS", 1)), "142-001-002 bad address"},
	{"an address type of DirSync", text(strings.Replace(Message("x"), "TO:CSI", "TO:PCM", 1)), "151-001-002 bad address"},
	{"no recipient", text(strings.Replace(Message("x"), "TO:CSI:NORTHWIND/PO2/MKUMAR\r\n", "", 1)), "142-001-000 no TO line"},
	{"no originator", text(strings.Replace(Message("x"), "FROM:CSI:NORTHWIND/PO1/ASMITH\r\n", "", 1)), "142-001-000 no FROM line"},
	{"two originators", text(strings.Replace(Message("x"), "SUBJECT:x", "FROM:CSI:A/B/C", 1)), "143-001-004 FROM occurs twice"},
	{"a line without token", text(strings.Replace(Message("x"), "SUBJECT:x", "SUBJECT x", 1)), "144-001-004 cannot split"},
	{"mixed line ends", text(strings.Replace(Message("x"), "SUBJECT:x\r\n", "SUBJECT:x\n", 1)), "144-001-004 cannot split line \"SUBJECT:x\\n\""},
	{"another system's line ends throughout but in the first line", text("VERSION:3.00\n" + strings.TrimPrefix(Message("x"), "VERSION:3.00\r\n")), "144-001-002"},
	{"a text that is cut short", text(Message("x")[:len(Message("x"))-1]), "143-001-000 the sizes of TEXT and attachments reach beyond"},
	{"a header that is cut short", text(Message("x")[:60]), "144-001-003 cannot split line"},
	{"a text size that overflows", text(strings.Replace(Message("x"), "TEXT:", "TEXT:99999999999999999999", 1)), "143-001-005 TEXT has no size"},
	{"attachment sizes that overflow", text(strings.Replace(Message("x"), "TEXT:", "ATTACHMENT:A 9223372036854775807\r\nATTACHMENT:B 9223372036854775807\r\nTEXT:", 1)), "143-001-000 the sizes"},
	{"a file name outside in XTEXT", text(strings.Replace(Message("x"), "TEXT:", "XTEXT:..\\..\\SECRET", 1)), "146-001-005"},
	{"a file name outside in XATTACH", text(strings.Replace(Message("x"), "TEXT:", "XATTACH:/etc/passwd\r\nTEXT:", 1)), "146-001-005"},
	{"another message's file in XATTACH", text(strings.Replace(Message("x"), "TEXT:", "XATTACH:GOOD1.MSG\r\nTEXT:", 1)), "146-001-005 \"GOOD1.MSG\": this file must not be read: it is part of the drop's own working"},
	{"a link in XATTACH", text(strings.Replace(Message("x"), "TEXT:", "XATTACH:LINK.TXT\r\nTEXT:", 1)), "146-001-005 \"LINK.TXT\": this file must not be read: it is a symbolic link"},
	{"an empty file", text(""), "143-001-000 the file is empty"},
	{"a file of zeros", text(strings.Repeat("\x00", 70000)), "144-001-000 no line end"},
	{"a line of a megabyte", text("VERSION:3.00\r\nSUBJECT:" + strings.Repeat("x", 1<<20)), "144-001-002 cannot split line"},
	{"100,000 recipients", text("VERSION:3.00\nFROM:A/B/C\n" + strings.Repeat("TO:A/B/D\n", 100000) + "TEXT:0\n"), "020-001-5003 more than 5000 recipients"},
	{"100,000 attachments", text("VERSION:3.00\nFROM:A/B/C\nTO:A/B/D\n" + strings.Repeat("ATTACHMENT:A 0\n", 60000) + "TEXT:0\n"), "143-001-2004 more than 2000 attachments"},
	{"a program", text("MZ\x90\x00\x03\n\x00\x00\x00\x04" + strings.Repeat("\xff\n", 5000)), "144-001-001"},
	{"a symbolic link to a file outside", func(t testing.TB, path string) { must(t, os.Symlink("/etc/passwd", path)) }, "052-000-000 is a symbolic link"},
	{"a symbolic link to a neighbour", func(t testing.TB, path string) { must(t, os.Symlink("GOOD1.MSG", path)) }, "052-000-000 is a symbolic link"},
	{"a symbolic link to nowhere", func(t testing.TB, path string) { must(t, os.Symlink("gone", path)) }, "052-000-000 is a symbolic link"},
	{"a FIFO that nobody writes to", func(t testing.TB, path string) { must(t, syscall.Mkfifo(path, 0o666)) }, "052-000-000 is a FIFO"},
	{"a folder with files in it", func(t testing.TB, path string) {
		must(t, os.Mkdir(path, 0o777))
		must(t, os.WriteFile(filepath.Join(path, "GOOD.MSG"), []byte(Message("inside a folder")), 0o666))
	}, "052-000-000 is a folder"},
	{"a socket", func(t testing.TB, path string) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		must(t, err)
		must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
		must(t, unix.Close(fd))
	}, "052-000-000 is a socket"},
	{"a hard link to a file outside", func(t testing.TB, path string) {
		outside := filepath.Join(filepath.Dir(filepath.Dir(path)), "outside"+filepath.Base(path))
		must(t, os.WriteFile(outside, []byte(Message("somebody else's")), 0o666))
		must(t, os.Link(outside, path))
	}, "052-000-000 has a second name (hard link)"},
	{"a terabyte of holes", func(t testing.TB, path string) {
		must(t, os.WriteFile(path, []byte(Message("x")), 0o666))
		must(t, os.Truncate(path, 1<<40))
	}, "052-000-000 is larger than a file here may be"},
	{"a gigabyte of holes", func(t testing.TB, path string) {
		must(t, os.WriteFile(path, []byte(Message("x")), 0o666))
		must(t, os.Truncate(path, 1<<30))
	}, "052-000-000 is almost all holes (sparse)"},
}

// Message is a whole message in MMFF from NORTHWIND/PO1 to NORTHWIND/PO2.
func Message(subject string) string {
	body := "Hello from " + subject + "\r\n"
	return fmt.Sprintf("VERSION:3.00\r\nTO:CSI:NORTHWIND/PO2/MKUMAR\r\nFROM:CSI:NORTHWIND/PO1/ASMITH\r\nSUBJECT:%s\r\nTEXT:%d\r\n%s", subject, len(body), body)
}

func text(s string) func(testing.TB, string) {
	return func(t testing.TB, path string) { must(t, os.WriteFile(path, []byte(s), 0o666)) }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
