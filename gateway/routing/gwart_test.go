package routing

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"backbone/gateway/address"
)

func TestGWARTTextIsExchanges(t *testing.T) {
	tb := table(t,
		"X400 to SITEB | MS:NORTHWIND/PO2 | 1", "MS Mail Connector (SRVA) | MS:NORTHWIND/PO1 | 1",
		"Internet Mail Service (SRVA) | SMTP:* | 1", "Second | SMTP:* | 1", "Third | SMTP:* | 7", "Spare | SMTP: | 100",
		"X400 to SITEB | X400:c=US;a= ;p=Northwind;o=SITEB | 1")
	var b bytes.Buffer
	if err := tb.WriteGWART(&b); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`MS,NORTHWIND/PO1;,1,MS Mail Connector (SRVA),
MS,NORTHWIND/PO2;,1,X400 to SITEB,
SMTP,;,100,Spare,
SMTP,*;,1,Internet Mail Service (SRVA),Second,
SMTP,*;,7,Third,
X400,c=US;a= ;p=Northwind;o=SITEB;,1,X400 to SITEB,
`, "\n", "\r\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	es, err := ParseGWART(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range es {
		es[i].Space.Scope, es[i].Space.Origin = "", "config"
	}
	if diff := Diff(tb, NewTable(es)); diff != nil {
		t.Errorf("reading it back changes the table:\n%s", strings.Join(diff, "\n"))
	}
}

// The sample printed in KB Q149121, with its irregular lines.
func TestGWARTSampleOfTheKnowledgeBase(t *testing.T) {
	const sample = "   EX,/O=WYNNWARE/OU=FRISCO;,1, Connection to Frisco\r\n" +
		"   MS,MSNET/PO1;,1,MS Mail Connector (PLUTO),\r\n   SMTP,*;,1,Internet Mail Connector (SATURN),\r\n" +
		"   X400,c=GB;a=TMAILUK;p=*,1,Connection to Frisco,\r\n   X400,c=US;a= ;p=MICROSOFT;o=BSD;,1,Site Connector (BSD),\r\n"
	es, err := ParseGWART(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range es {
		got = append(got, e.Space.String()+" -> "+e.Connector)
	}
	want := []string{"EX:/O=WYNNWARE/OU=FRISCO -> Connection to Frisco", "MS:MSNET/PO1 -> MS Mail Connector (PLUTO)",
		"SMTP:* -> Internet Mail Connector (SATURN)", "X400:c=GB;a=TMAILUK;p=*; -> Connection to Frisco", "X400:c=US;a= ;p=MICROSOFT;o=BSD; -> Site Connector (BSD)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGWARTNamesEachBadLineAndKeepsTheGoodOnes(t *testing.T) {
	es, err := ParseGWART(strings.NewReader("MS,A/B;,1,K,\nrubbish\nMS,A/C;,101,K,\nMS,A/D;,1,,\nTOOLONGTYPE,x;,1,K,\nMS,A/E;,2,K\n"))
	if len(es) != 2 {
		t.Errorf("%d entries, want the 2 good ones", len(es))
	}
	for _, want := range []string{"line 2", "line 3", "line 4", "line 5"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestDiffShowsWhatChanged(t *testing.T) {
	got := Diff(table(t, "a | MS:N/P1 | 1", "b | MS:N/P2 | 1"), table(t, "a | MS:N/P1 | 2", "b | MS:N/P2 | 1", "b | SMTP:* | 1"))
	want := []string{"- MS,N/P1;,1,a,", "+ MS,N/P1;,2,a,", "+ SMTP,*;,1,b,"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzParseGWART(f *testing.F) {
	f.Add("MS,NORTHWIND/PO1;,1,MS Mail Connector (SRVA),\r\n")
	f.Add("X400,c=US;a= ;p=Northwind;o=SITEB;,1,X400 to SITEB,Other,\n")
	f.Add("X400,c=GB;a=TMAILUK;p=*,1,Connection to Frisco,\nSMTP,;,100,x,")
	f.Add("FAX,a;,1,b;,2,c,")
	f.Add("0,,1,1,0;") // a connector's name that reads as a pattern's end
	f.Add("FAX,ends in a semicolon;;,1,b,")
	f.Add("0,,1,1,0;") // a connector's name that ends in one
	f.Fuzz(func(t *testing.T, s string) {
		es, _ := ParseGWART(strings.NewReader(s)) // what is wrong with a line is not the point here
		for _, e := range es {
			if err := e.Space.Validate(); err != nil {
				t.Fatalf("entry %+v: %v", e, err)
			}
		}
		tb := NewTable(es)
		var b bytes.Buffer
		if err := tb.WriteGWART(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ParseGWART(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("own text: %v\n%s", err, b.String())
		}
		if diff := Diff(tb, NewTable(again)); diff != nil {
			t.Fatalf("round trip changes:\n%s", strings.Join(diff, "\n"))
		}
		Route(tb, Request{Recipient: address.Address{Type: "MS", Value: "NORTHWIND/PO1/X"}})
	})
}
