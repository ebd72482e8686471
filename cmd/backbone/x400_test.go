package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs the program and gives its exit code and output.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errw bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &errw)
	return code, out.String(), errw.String()
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const x400Package = "../../connectors/x400"

func TestEveryCaptureIsDecodedAtTheCommandLine(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(x400Package, "testdata", "captures", "*.pcap"))
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			want := read(t, filepath.Join(x400Package, "decode", "testdata", filepath.Base(f)+".txt"))
			code, out, errw := command(t, "", "x400", "decode", f)
			if out != want {
				t.Errorf("the tree is not that of the package's golden file:\n%s", out)
			}
			if code != exitDone || errw != "" {
				t.Errorf("exit %d, %q", code, errw)
			}
			if code2, out2, _ := command(t, read(t, f), "x400", "decode", "-"); code2 != code || out2 != out {
				t.Errorf("from stdin: exit %d, %d octets, from the file exit %d, %d octets", code2, len(out2), code, len(out))
			}
		})
	}
}

func TestAnAPDUIsDecodedInEachForm(t *testing.T) {
	apdu := filepath.Join(x400Package, "p1", "testdata", "pp-message.ber")
	code, want, errw := command(t, "", "x400", "decode", apdu)
	if code != exitDone || !strings.Contains(want, `subject: "Hello over P1"`) {
		t.Fatalf("exit %d, %s\n%s", code, errw, want)
	}
	for name, stdin := range map[string]string{"octets": read(t, apdu), "hex": hex.EncodeToString([]byte(read(t, apdu))), "a dump": hex.Dump([]byte(read(t, apdu)))} {
		if code, out, errw := command(t, stdin, "x400", "decode", "-"); code != exitDone || out != want {
			t.Errorf("%s: exit %d, %s\n%s", name, code, errw, out)
		}
	}
}

func TestATreeAsJSONHasItsDepthsNamesAndValues(t *testing.T) {
	code, out, errw := command(t, "", "x400", "decode", "--json", filepath.Join(x400Package, "p1", "testdata", "pp-message.ber"))
	if code != exitDone {
		t.Fatal(code, errw)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	var got []treeLine
	for _, l := range lines {
		var v treeLine
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatal(l, err)
		}
		got = append(got, v)
	}
	if got[0] != (treeLine{Name: "message"}) {
		t.Errorf("the root is %+v", got[0])
	}
	subjects := 0
	for _, l := range got {
		if l == (treeLine{Depth: 4, Name: "subject", Value: `"Hello over P1"`}) {
			subjects++
		}
	}
	if subjects != 1 {
		t.Errorf("%d subjects in\n%s", subjects, out)
	}
}

func TestWhatCantBeDecodedIsSaidWithItsExitCode(t *testing.T) {
	half := read(t, filepath.Join(x400Package, "p1", "testdata", "pp-message.ber"))[:300]
	for name, tt := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"a file that is not there":     {"", []string{"no-such-file"}, exitError, "no-such-file: no such file"},
		"no argument":                  {"", nil, exitError, "accepts 1 arg"},
		"a letter":                     {"Dear Sir", []string{"-"}, exitError, "stdin: decode: nothing of it is X.400; "},
		"nothing":                      {"", []string{"-"}, exitError, "stdin: decode: nothing of it is X.400"},
		"half a message":               {half, []string{"-"}, exitPartly, "breaks off after 300 octets"},
		"a connection that breaks off": {"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x01\x00\x03\x00\x00\x20", []string{"-"}, exitPartly, "breaks off within a packet"},
		"half a message as JSON":       {half, []string{"--json", "-"}, exitPartly, "breaks off after 300 octets"},
	} {
		code, out, errw := command(t, tt.stdin, append([]string{"x400", "decode"}, tt.args...)...)
		if code != tt.code || !strings.HasPrefix(errw, "backbone: ") || !strings.Contains(errw, tt.want) || strings.Count(errw, "\n") != 1 {
			t.Errorf("%s: exit %d, want %d with %q:\n%s%s", name, code, tt.code, tt.want, errw, out)
		}
	}
}
