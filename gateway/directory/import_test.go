package directory

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"backbone/gateway/address"
)

func importText(t testing.TB, d *Directory, text string, o ImportOptions) (Summary, error) {
	t.Helper()
	return d.Import(context.Background(), strings.NewReader(text), o)
}

// mustImport is for files without a fault.
func mustImport(t testing.TB, d *Directory, text string) Summary {
	t.Helper()
	s, err := importText(t, d, text, ImportOptions{})
	if err != nil || s.Errors > 0 || s.Warnings > 0 || !s.Applied {
		t.Fatalf("summary %+v, %v", s, err)
	}
	return s
}

// The reference's own sample file.
func TestImportSample(t *testing.T) {
	d := open(t, Options{})
	add(t, d, Entry{Name: "ASMITH", Target: addr(t, "MS:NORTHWIND/PO1/OLD"), Secondary: addrs(t, "SMTP:alex@northwind.example")}, person(t, "TEMP01", "MS:NORTHWIND/PO1/TEMP01"))
	s := mustImport(t, d, strings.ReplaceAll(`Obj-Class,Mode,Directory Name,Display Name,Alias Name,First Name,Last name,E-mail Address,Secondary-Proxy-Addresses
Remote,Create,MKUMAR,"Kumar, Mira",MKUMAR,Mira,Kumar,MS:NORTHWIND/PO2/MKUMAR,SMTP:mira.kumar@northwind.example%MS:OLDNET/OLDPO/MKUMAR
Remote,Update,JLEE,Jin Lee,JLEE,Jin,Lee,MS:NORTHWIND/PO2/JLEE,
Remote,Modify,ASMITH,Alex Smith,ASMITH,,,MS:NORTHWIND/PO1/ASMITH,~DEL
Remote,Delete,TEMP01,,,,,MS:NORTHWIND/PO1/TEMP01,
`, "\n", "\r\n"))
	if want := (Summary{Lines: 4, Created: 2, Modified: 1, Deleted: 1, Applied: true}); !cmp.Equal(want, s) {
		t.Errorf("summary %+v, want %+v", s, want)
	}
	e, err := d.Get("MKUMAR")
	if err != nil || e.Display != "Kumar, Mira" || e.First != "Mira" || e.Target != addr(t, "MS:NORTHWIND/PO2/MKUMAR") || len(e.Secondary) != 2 {
		t.Errorf("MKUMAR: %+v, %v", e, err)
	}
	if e, err = d.Get("ASMITH"); err != nil || e.Target.Value != "NORTHWIND/PO1/ASMITH" || e.Secondary != nil {
		t.Errorf("ASMITH: %+v, %v", e, err)
	}
	if _, err := d.Get("TEMP01"); !errors.Is(err, ErrNotFound) {
		t.Errorf("TEMP01: %v", err)
	}
}

// Each line's fate, with Exchange's event number, line and column.
func TestImportOutcomes(t *testing.T) {
	const header = "Obj-Class,Mode,Directory Name,Display Name,E-mail Address,E-mail Addresses,Secondary-Proxy-Addresses\n"
	for _, tt := range []struct {
		name, line string
		want       string // "status event column"
	}{
		{"a new entry", `Remote,Create,NEW,New,MS:N/P/NEW,,`, "created"},
		{"the class in any case", `REMOTE,,NEW,New,MS:N/P/NEW,,`, "created"},
		{"update of a new one creates", `Remote,Update,NEW,New,MS:N/P/NEW,,`, "created"},
		{"update of an old one modifies", `Remote,Update,old,Other,,,`, "modified"},
		{"no mode is update", `Remote,,OLD,Other,,,`, "modified"},
		{"a blank value changes nothing (Q152727)", `Remote,Modify,OLD,,,,`, "unchanged"},
		{"delete", `Remote,Delete,OLD,,,,`, "deleted"},
		{"blanks around values", `Remote , Modify , OLD , "Other" , , , `, "modified"},
		{"a mailbox has no place here", `Mailbox,,X,,,,`, "skipped"},
		{"nor has a distribution list", `dl,,X,,,,`, "skipped"},
		{"too few fields (291)", `Remote,Create,NEW`, "error 291 1"},
		{"too many fields (291)", `Remote,Create,NEW,,MS:N/P/NEW,,,`, "error 291 1"},
		{"no class (218)", `,Create,NEW,,MS:N/P/NEW,,`, "error 218 1"},
		{"an unknown class (228)", `Person,Create,NEW,,MS:N/P/NEW,,`, "error 228 1"},
		{"an unknown mode (221)", `Remote,Upsert,NEW,,MS:N/P/NEW,,`, "error 221 8"},
		{"no name (219)", `Remote,Create,,,MS:N/P/NEW,,`, "error 219 15"},
		{"a name to be deleted (266)", `Remote,Modify,~DEL,,,,`, "error 266 15"},
		{"a name that can't be one (275)", `Remote,Create,` + strings.Repeat("x", 65) + `,,MS:N/P/NEW,,`, "error 275 15"},
		{"create of an old one (287)", `Remote,Create,Old,,MS:N/P/NEW,,`, "error 287 15"},
		{"modify of nobody (288)", `Remote,Modify,NEW,,MS:N/P/NEW,,`, "error 288 15"},
		{"delete of nobody (138)", `Remote,Delete,NEW,,,,`, "warning 138 15"},
		{"no target (292)", `Remote,Create,NEW,New,,SMTP:new@example.com,`, "error 292 23"},
		{"a target without colon (230)", `Remote,Create,NEW,,N/P/NEW,,`, "error 230 20"},
		{"a target without type (231)", `Remote,Create,NEW,,:N/P/NEW,,`, "error 231 20"},
		{"a type of nine characters (232)", `Remote,Create,NEW,,MSMAILPCX:N/P/NEW,,`, "error 232 20"},
		{"a target that is none (235)", `Remote,Create,NEW,,MS:N/P,,`, "error 235 20"},
		{"an O/R address that is none (235)", `Remote,Create,NEW,,X400:/C/A=x,,`, "error 235 20"},
		{"an O/R address with /DDA (Q169762 refused it)", `Remote,Create,NEW,,X400:/C=CA/A=TEL/G=L/S=A/O=BM/DDA:ID=ILL,,`, "created"},
		{"two primaries of one type (233)", `Remote,Create,NEW,,MS:N/P/NEW,SMTP:a@example.com%SMTP:b@example.com,`, "error 233 31"},
		{"a proxy that is none (237)", `Remote,Create,NEW,,MS:N/P/NEW,SMTP:a,`, "error 237 31"},
		{"a target that is taken (236)", `Remote,Create,NEW,,MS:N/P/OLD,,`, "error 236 20"},
		{"a target that is another's proxy (236, Q232618)", `Remote,Create,NEW,,SMTP:old@example.com,,`, "error 236 20"},
		{"a proxy that is taken (238)", `Remote,Create,NEW,,MS:N/P/NEW,SMTP:OLD@example.com,`, "error 238 31"},
		{"a secondary proxy that is taken (238)", `Remote,Create,NEW,,MS:N/P/NEW,,SMTP:old@example.com`, "error 238 32"},
		{"~DEL of a new one (241)", `Remote,Update,NEW,~DEL,MS:N/P/NEW,,`, "error 241 19"},
		{"~DEL of the target (266)", `Remote,Modify,OLD,,~DEL,,`, "error 266 20"},
		{"~DEL among values (268)", `Remote,Modify,OLD,,,~DEL%SMTP:x@example.com,`, "error 268 21"},
		{"~DEL in any case", `Remote,Modify,OLD,~del,,,`, "modified"},
		{"~del<> of one", `Remote,Modify,OLD,,,~del<SMTP:old@example.com>,`, "modified"},
		{"~del<> of one that is not there (150)", `Remote,Modify,OLD,,,~del<SMTP:none@example.com>,`, "warning 150 21; unchanged"},
		{"~del<> among values (268)", `Remote,Modify,OLD,,,SMTP:x@example.com%~del<SMTP:old@example.com>,`, "error 268 21"},
		{"a single backslash (168)", `Remote,Modify,OLD,a\b,,,`, "warning 168 19; modified"},
		{"a doubled one is fine", `Remote,Modify,OLD,a\\b,,,`, "modified"},
		{"a value over its limit (169)", `Remote,Modify,OLD,` + strings.Repeat("x", 300) + `,,,`, "warning 169 19; modified"},
		{"a control character (166)", "Remote,Modify,OLD,a\x1b[31mb,,,", "warning 166 19; modified"},
		{"a quotation mark after its value (220)", `Remote,Modify,OLD,"x"y,,,`, "error 220 22"},
		{"a quotation mark inside a value (220)", `Remote,Modify,OLD,x"y",,,`, "error 220 20"},
		{"a quotation mark that stays open (220)", `Remote,Modify,OLD,"xy,,,`, "error 220 19"},
		{"a column is counted in characters", `Remote,Create,ÄÖÜ,,MS:N/P,,`, "error 235 20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, Options{})
			add(t, d, Entry{Name: "OLD", Display: "Old", Target: addr(t, "MS:N/P/OLD"), Proxies: addrs(t, "SMTP:old@example.com")})
			var results bytes.Buffer
			s, err := importText(t, d, header+tt.line+"\n"+`Remote,Create,NEXT,,MS:N/P/NEXT,,`, ImportOptions{Results: &results})
			if err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(&results).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows[1:] {
				if r[0] == "2" {
					got = append(got, strings.TrimSpace(r[2]+" "+r[3]+" "+r[1]))
				}
			}
			if g := strings.Join(got, "; "); g != tt.want {
				t.Errorf("got %q, want %q\n%v", g, tt.want, rows)
			}
			if _, err := d.Get("NEXT"); err != nil || s.Lines != 2 {
				t.Errorf("the next line suffered: %v, %+v", err, s)
			}
			if strings.HasPrefix(tt.want, "error") {
				if e, err := d.Get("OLD"); err != nil || e.Version != 1 || s.Errors != 1 || len(s.Problems) != 1 {
					t.Errorf("a refused line changed something: %+v, %v, %+v", e, err, s)
				}
			}
		})
	}
}

func TestImportHeaders(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		event      int // of the error; 0: taken
		warnings   int
	}{
		{"an empty file (226)", "", 226, 0},
		{"another first column (226)", "Directory Name,Obj-Class\n", 226, 0},
		{"the wrong separator (226)", "Obj-Class:Directory Name\n", 226, 0},
		{"Mode in the third column (222)", "Obj-Class,Directory Name,Mode\n", 222, 0},
		{"no name (225)", "Obj-Class,Mode,E-mail Address\n", 225, 0},
		{"quotation marks (227)", "Obj-Class,\"Directory\"Name\n", 227, 0},
		{"an unknown column (264)", "Obj-Class,Directory Name,Shoe size,E-mail Address\nRemote,A,9,MS:N/P/A\n", 0, 1},
		{"a column twice (152): the first counts", "Obj-Class,Directory Name,E-mail Address,E-mail Address\nRemote,A,MS:N/P/A,MS:N/P/B\n", 0, 1},
		{"columns of an export that say nothing here", "Obj-Class,Directory Name,E-mail Address,Home-Server,Imported-From,Obj-Dist-Name\nRemote,A,MS:N/P/A,SRV,x,y\n", 0, 0},
		{"any case, blanks or hyphens", "OBJ-CLASS, directory-name ,e-mail address\nRemote,A,MS:N/P/A\n", 0, 0},
		{"schema names", "Obj-Class,Common-Name,Target-Address\nRemote,A,MS:N/P/A\n", 0, 0},
		{"a target under E-mail addresses alone, as in KB samples", "Obj-Class,Directory Name,E-mail addresses\nRemote,A,MS:N/P/A\n", 0, 0},
		{"no line end at the end", "Obj-Class,Directory Name,E-mail Address\nRemote,A,MS:N/P/A", 0, 0},
		{"blank lines", "Obj-Class,Directory Name,E-mail Address\n\n\nRemote,A,MS:N/P/A\r\n\r\n", 0, 0},
		{"semicolons are found out", "Obj-Class;Directory Name;E-mail Address\nRemote;A;MS:N/P/A\n", 0, 0},
		{"tabs are found out", "Obj-Class\tDirectory Name\tE-mail Address\nRemote\tA\tMS:N/P/A\n", 0, 0},
		{"quoted headers", "\"Obj-Class\",\"Directory Name\",\"E-mail Address\"\n\"Remote\",\"A\",\"MS:N/P/A\"\n", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, Options{})
			s, err := importText(t, d, tt.text, ImportOptions{})
			var ie *ImportError
			if tt.event != 0 {
				if !errors.As(err, &ie) || ie.Event != tt.event || ie.Line != 1 || s.Applied {
					t.Errorf("error %v, want event %d on line 1", err, tt.event)
				}
				return
			}
			if err != nil || s.Warnings != tt.warnings || s.Created != 1 {
				t.Fatalf("summary %+v, %v", s, err)
			}
			if e, err := d.Get("A"); err != nil || e.Target.Value != "N/P/A" {
				t.Errorf("entry %+v, %v", e, err)
			}
		})
	}
}

func TestImportSeparatorsAndCodePages(t *testing.T) {
	const plain = "Obj-Class,Directory Name,Display Name,E-mail Address,E-mail Addresses\nRemote,A,Jürgen Łęcki,MS:N/P/A,SMTP:a@example.com%X400:c=DE;a=x;s=A\n"
	latin := strings.ReplaceAll(plain, "Łęcki", "Žmud")
	cp850 := strings.ReplaceAll(plain, "Łęcki", "Åström")
	encode := func(s string, e interface {
		Bytes([]byte) ([]byte, error)
	}) string {
		t.Helper()
		b, err := e.Bytes([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, text string
		f          Format
		display    string
	}{
		{"UTF-8", plain, Format{}, "Jürgen Łęcki"},
		{"UTF-8 with a byte order mark", "\ufeff" + plain, Format{}, "Jürgen Łęcki"},
		{"UTF-16", encode(plain, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder()), Format{}, "Jürgen Łęcki"},
		{"big-endian UTF-16, whatever was declared", encode(plain, unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder()), Format{Charset: "IBM850"}, "Jürgen Łęcki"},
		{"Windows-1252 is found out", encode(latin, charmap.Windows1252.NewEncoder()), Format{}, "Jürgen Žmud"},
		{"a declared code page", encode(cp850, charmap.CodePage850.NewEncoder()), Format{Charset: "IBM850"}, "Jürgen Åström"},
		{"a bar as separator, given", strings.ReplaceAll(plain, ",", "|"), Format{Column: '|'}, "Jürgen Łęcki"},
		{"another separator of values", strings.ReplaceAll(plain, "%", "#"), Format{Multi: '#'}, "Jürgen Łęcki"},
		{"an apostrophe to quote", strings.ReplaceAll(plain, "Jürgen Łęcki", "'Jürgen Łęcki'"), Format{Quote: '\''}, "Jürgen Łęcki"},
		{"tab for all three (Q152472): nothing is quoted", strings.ReplaceAll(strings.ReplaceAll(plain, ",", "\t"), "%X400:c=DE;a=x;s=A", ""), Format{Column: '\t', Quote: '\t', Multi: '\t'}, "Jürgen Łęcki"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, Options{})
			s, err := importText(t, d, tt.text, ImportOptions{Format: tt.f})
			if err != nil || s.Created != 1 || s.Warnings != 0 {
				t.Fatalf("summary %+v, %v", s, err)
			}
			e, err := d.Get("A")
			if err != nil || e.Display != tt.display || len(e.Proxies) == 0 {
				t.Errorf("entry %+v, %v", e, err)
			}
		})
	}
	if _, err := importText(t, open(t, Options{}), plain, ImportOptions{Format: Format{Charset: "klingon"}}); err == nil || !strings.Contains(err.Error(), "klingon") {
		t.Errorf("an unknown code page: %v", err)
	}
}

func TestImportOfPrimaryAddressesReplacesByType(t *testing.T) {
	d := open(t, Options{})
	add(t, d, Entry{Name: "A", Target: addr(t, "MS:N/P/A"), Proxies: addrs(t, "SMTP:a@example.com", "X400:c=DE;a=x;s=A"), Secondary: addrs(t, "SMTP:a2@example.com", "SMTP:a3@example.com")})
	const h = "Obj-Class,Directory Name,E-mail Addresses,Secondary-Proxy-Addresses\n"
	check := func(primary, secondary []address.Address) {
		t.Helper()
		e, err := d.Get("A")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]address.Address{primary, secondary}, [][]address.Address{e.Proxies, e.Secondary}); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	mustImport(t, d, h+"Remote,A,SMTP:a2@example.com,\n")
	check(addrs(t, "X400:c=DE;a=x;s=A", "SMTP:a2@example.com"), addrs(t, "SMTP:a3@example.com"))
	mustImport(t, d, h+"Remote,A,,SMTP:a4@example.com%MS:O/P/A\n")
	check(addrs(t, "X400:c=DE;a=x;s=A", "SMTP:a2@example.com"), addrs(t, "SMTP:a4@example.com", "MS:O/P/A"))
	mustImport(t, d, h+"Remote,A,~DEL,~del<MS:O/P/A>\n")
	check(nil, addrs(t, "SMTP:a4@example.com"))
}

func TestImportBoundsOnTheWholeFile(t *testing.T) {
	fill := func(t *testing.T) *Directory {
		d := open(t, Options{})
		for i := range 10 {
			add(t, d, person(t, fmt.Sprintf("U%d", i), fmt.Sprintf("MS:N/P/U%d", i)))
		}
		return d
	}
	const h = "Obj-Class,Mode,Directory Name,E-mail Address\n"
	const three = h + "Remote,Delete,U0,\nRemote,Delete,U1,\nRemote,Delete,U2,\nRemote,Create,NEW,MS:N/P/NEW\n"
	t.Run("a dry run changes nothing and says what it would do", func(t *testing.T) {
		d := fill(t)
		usn := d.USN()
		s, err := importText(t, d, three, ImportOptions{DryRun: true})
		if err != nil || s.Deleted != 3 || s.Created != 1 || s.Applied || d.USN() != usn || d.Size() != 10 {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
	})
	t.Run("the guard refuses a file that deletes too much", func(t *testing.T) {
		d := fill(t)
		s, err := importText(t, d, three, ImportOptions{DeleteGuard: 20})
		var ie *ImportError
		if !errors.As(err, &ie) || s.Applied || d.Size() != 10 || !strings.Contains(err.Error(), "3 of 10") {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
		if s, err = importText(t, d, three, ImportOptions{DeleteGuard: 30}); err != nil || !s.Applied || d.Size() != 8 {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
	})
	t.Run("all or nothing", func(t *testing.T) {
		d := fill(t)
		const bad = h + "Remote,Create,NEW,MS:N/P/NEW\nRemote,Create,BAD,MS:N\n"
		if s, err := importText(t, d, bad, ImportOptions{AllOrNothing: true}); err == nil || s.Applied || s.Errors != 1 || d.Size() != 10 {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
		if s, err := importText(t, d, bad, ImportOptions{}); err != nil || !s.Applied || d.Size() != 11 {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
	})
	t.Run("a context that ends leaves nothing half done", func(t *testing.T) {
		d := fill(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := d.Import(ctx, strings.NewReader(three), ImportOptions{}); !errors.Is(err, context.Canceled) || d.Size() != 10 {
			t.Errorf("%v, size %d", err, d.Size())
		}
	})
	t.Run("so does a reader that fails", func(t *testing.T) {
		d := fill(t)
		r := io.MultiReader(strings.NewReader(three), failing{})
		s, err := d.Import(context.Background(), r, ImportOptions{})
		if err == nil || s.Applied || d.Size() != 10 {
			t.Errorf("summary %+v, %v, size %d", s, err, d.Size())
		}
	})
	t.Run("a result file that can't be written is told", func(t *testing.T) {
		if _, err := importText(t, fill(t), three, ImportOptions{Results: failing{}}); err == nil || !strings.Contains(err.Error(), "result file") {
			t.Errorf("%v", err)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errors.New("the disk fell off") }
func (failing) Write([]byte) (int, error) { return 0, errors.New("the disk fell off") }

func TestAQuotedValueMayStretchOverLines(t *testing.T) {
	d := open(t, Options{})
	s, err := importText(t, d, "Obj-Class,Directory Name,Address,E-mail Address\r\nRemote,A,\"1 High St\r\nLondon\",MS:N/P/A\r\nRemote,B,\"open,MS:N/P/B\r\nRemote,C,,MS:N/P/C\r\nRemote,D,,MS:N\r\n", ImportOptions{})
	if err != nil || s.Created != 2 || s.Errors != 2 {
		t.Fatalf("summary %+v, %v; want A and C, and B's mark to cost B only", s, err)
	}
	if e, err := d.Get("A"); err != nil || e.Attributes["Address"] != "1 High St London" {
		t.Errorf("%+v, %v", e, err)
	}
	var lines []int
	for _, p := range s.Problems {
		if p.Status == Failed {
			lines = append(lines, p.Line)
		}
	}
	if !cmp.Equal(lines, []int{4, 6}) {
		t.Errorf("errors on lines %v, want 4 and 6", lines)
	}
}

func TestWhatOneLineGivesUpALaterLineMayTake(t *testing.T) {
	d := open(t, Options{})
	add(t, d, person(t, "A", "MS:N/P/A", "SMTP:a@example.com"), person(t, "B", "MS:N/P/B"))
	mustImport(t, d, "Obj-Class,Mode,Directory Name,E-mail Address,E-mail Addresses\n"+
		"Remote,Modify,A,MS:N/P/A2,SMTP:a2@example.com\nRemote,Delete,B,,\nRemote,Create,C,MS:N/P/A,SMTP:a@example.com\nRemote,Create,D,MS:N/P/B,\nRemote,Create,B,MS:N/P/B2,\n")
	for a, want := range map[string]string{"MS:N/P/A": "SITEA/C", "SMTP:a@example.com": "SITEA/C", "MS:N/P/A2": "SITEA/A", "MS:N/P/B": "SITEA/D", "MS:N/P/B2": "SITEA/B"} {
		if r, err := d.Resolve(addr(t, a)); err != nil || r.Entry != want {
			t.Errorf("%s belongs to %q, %v; want %s", a, r.Entry, err, want)
		}
	}
	if e, err := d.Get("B"); err != nil || e.Version != 3 {
		t.Errorf("B, deleted and made again: version %d, %v", e.Version, err)
	}
}

func TestALineTooLongToBeAnObjectCostsOnlyItself(t *testing.T) {
	d := open(t, Options{})
	s, err := importText(t, d, "Obj-Class,Directory Name,E-mail Address\nRemote,\"open,MS:N/P/X\nRemote,"+strings.Repeat("x", maxRecord)+",MS:N/P/A\nRemote,B,MS:N/P/B\nRemote,C,MS:N\n", ImportOptions{})
	if err != nil || s.Created != 1 || s.Errors != 3 {
		t.Fatalf("summary %+v, %v", s, err)
	}
	for i, line := range []int{2, 3, 5} {
		if s.Problems[i].Line != line {
			t.Errorf("error %d is on line %d, want %d", i, s.Problems[i].Line, line)
		}
	}
}
