package mixer

import (
	"strings"
	"testing"
)

func TestTablesOfMCGAMsAreRead(t *testing.T) {
	x := addresses(t)
	x.Table = nil
	for _, table := range []struct {
		way  Way
		text string
	}{
		{ToDomain, "# to domains\n\nPRMD$UK\\.AC.ADMD$GOLD 400.C$GB#ac.uk#\nO$UCL.PRMD$UK\\.AC.ADMD$GOLD 400.C$GB#ucl.ac.uk#\nPRMD$garr.ADMD$@.C$IT#garr.it#\n"},
		{ToOR, "ucl.ac.uk#O$UCL.PRMD$UK\\.AC.ADMD$GOLD 400.C$GB#\nold.ac.uk#OU$Old.O$UCL.PRMD$UK\\.AC.ADMD$GOLD 400.C$GB#\n"},
	} {
		all, err := ReadTable(strings.NewReader(table.text), table.way)
		if err != nil {
			t.Fatal(err)
		}
		x.Table = append(x.Table, all...)
	}
	for _, tt := range []struct{ or, mailbox string }{
		{"c=GB;a=gold 400;p=UK.AC;o=UCL;s=Kille;", "Kille@ucl.ac.uk"},
		{"c=GB;a=gold 400;p=UK.AC;o=Edinburgh;s=Kille;", "Kille@Edinburgh.ac.uk"},
		{"c=IT;a= ;p=garr;s=Allocchio;g=Claudio;", "Claudio.Allocchio@garr.it"},
	} {
		if got := x.Native(or(t, tt.or)); !got.Equal(smtp(tt.mailbox)) {
			t.Errorf("%s became %s, want %s", tt.or, got, tt.mailbox)
		}
	}
	for mailbox, want := range map[string]string{
		"Kille@ucl.ac.uk":   "c=GB;a=gold 400;p=UK.AC;o=UCL;s=Kille;",
		"Kille@old.ac.uk":   "c=GB;a=gold 400;p=UK.AC;o=UCL;ou1=Old;s=Kille;",
		"Allocchio@garr.it": "c=US;a= ;p=Northwind;o=SITEA;dda:RFC-822=Allocchio(a)garr.it;", // that way there is no mapping
	} {
		if got := x.OR(smtp(mailbox)); !got.Equal(or(t, want)) {
			t.Errorf("%s became %s, want %s", mailbox, got, want)
		}
	}
	if got := x.Native(or(t, "c=GB;a=gold 400;p=UK.AC;o=UCL;ou1=Old;s=Kille;")); !got.Equal(smtp("Kille@Old.ucl.ac.uk")) {
		t.Errorf("a mapping to O/R addresses was read backwards: %s", got)
	}
	for name, line := range map[string]string{"one side": "ac.uk", "no attribute": "UK.AC#ac.uk#", "an unknown one": "X$Y.C$GB#ac.uk#", "no country": "PRMD$X#ac.uk#",
		"no domain": "C$GB##", "five units": "OU$1.OU$2.OU$3.OU$4.OU$5.C$GB#ac.uk#", "an empty value": "PRMD$.C$GB#ac.uk#"} {
		if got, err := ReadTable(strings.NewReader("\n"+line+"\n"), ToDomain); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
