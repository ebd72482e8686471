package translate

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSafeName(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"an ordinary name", "COUNTS.TXT", "COUNTS.TXT"},
		{"a long name with blanks", "Report for Q1.doc", "Report for Q1.doc"},
		{"letters beyond ASCII", "Stückliste.xls", "Stückliste.xls"},
		{"a Unix path", "../../etc/passwd", "passwd"},
		{"a DOS path", `C:\AUTOEXEC.BAT`, "AUTOEXEC.BAT"},
		{"a drive without a path", "C:COMMAND.COM", "COMMAND.COM"},
		{"a share", `\\server\share\x.txt`, "x.txt"},
		{"a path and nothing else", "a/b/", ""},
		{"dots", "..", ""},
		{"a stream", "a.txt:hidden", "a.txt_hidden"},
		{"wildcards and pipes", `a*?<>|".txt`, "a______.txt"},
		{"trailing dots and blanks", "setup.exe. . .", "setup.exe"},
		{"a device", "con", "_con"},
		{"a device with an extension", "Aux.tar.gz", "_Aux.tar.gz"},
		{"a numbered device", "COM1.txt", "_COM1.txt"},
		{"a superscript device", "LPT².txt", "_LPT².txt"},
		{"no device", "COM10.TXT", "COM10.TXT"},
		{"no device either", "CONTRACT.DOC", "CONTRACT.DOC"},
		{"an override that turns exe into txt", "a\u202etxt.exe", "atxt.exe"},
		{"an invisible character", "a\u200b.txt", "a.txt"},
		{"an escape sequence", "a\x1b[2J.txt", "a[2J.txt"},
		{"line ends", "a\r\nb.txt", "ab.txt"},
		{"broken UTF-8", "a\xff.txt", "a_.txt"},
		{"too long", strings.Repeat("x", 300) + ".doc", strings.Repeat("x", 96) + ".doc"},
		{"too long an extension", "x." + strings.Repeat("y", 300), "x." + strings.Repeat("y", 15)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := SafeName(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestASafeNameIsSafeAndStaysItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Z.:/\\ ]{0,8}(CON|NUL|COM1|lpt³)?[. a-z]{0,5}`)).Draw(t, "name")
		name := SafeName(in)
		if SafeName(name) != name {
			t.Fatalf("%q became %q, then %q", in, name, SafeName(name))
		}
		if strings.ContainsAny(name, `/\:*?"<>|`) || strings.ContainsFunc(name, unicode.IsControl) || device(name) || utf8.RuneCountInString(name) > maxName ||
			name != strings.TrimSpace(name) || strings.HasSuffix(name, ".") {
			t.Fatalf("%q became %q", in, name)
		}
	})
}

func TestDOSNames(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want []string
	}{
		{"already fit", []string{"COUNTS.TXT", "A"}, []string{"COUNTS.TXT", "A"}},
		{"cut and raised", []string{"quarterly report.document"}, []string{"QUARTERL.DOC"}},
		{"accents go", []string{"Stückliste.xls"}, []string{"STUCKLIS.XLS"}},
		{"other scripts become lines", []string{"报表.xls"}, []string{"__.XLS"}},
		{"twins are told apart", []string{"quarterly report 1.doc", "quarterly report 2.doc", "QUARTERL.DOC"}, []string{"QUARTERL.DOC", "QUARTE~2.DOC", "QUARTE~3.DOC"}},
		{"a device after cutting", []string{"con.text"}, []string{"_CON.TEX"}},
		{"only an extension", []string{".profile"}, []string{"PROFILE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := nameSet{dos: true}
			for i, in := range tt.in {
				if got := n.take(SafeName(in)); got != tt.want[i] {
					t.Errorf("%q: got %q, want %q", in, got, tt.want[i])
				}
			}
		})
	}
}

func FuzzFailedIn(f *testing.F) {
	f.Add("[002] unknown:\r\n  Gone, Ann (N/P/GONE)\r\n\r\ntext (N/P/X)\r\n")
	f.Add("[002]\nN/P/A\nN/P/B\n\n[005] x\nN/P/C")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range failedIn(text) {
			if r.MSMail < 0 || r.MSMail > 999 || r.Final.IsZero() || r.Status == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}
