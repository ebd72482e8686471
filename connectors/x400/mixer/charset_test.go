package mixer

import (
	"fmt"
	"strings"
	"testing"

	"backbone/connectors/x400/p22"
)

// TestEachCharacterSetOfGeneralTextComesAndGoes (RFC 2157; KB Q156369): a text that only one part of ISO 8859 has goes in its
// registered set, one that none has in UTF-8; and comes back.
func TestEachCharacterSetOfGeneralTextComesAndGoes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		set        int64
	}{
		{"western", "Grüße", 100}, {"central European", "Žluťoučký kůň", 101}, {"Maltese, Esperanto", "ĉirkaŭaĵo ħ", 109}, {"Baltic", "ķēniņš ŧ", 110},
		{"Cyrillic", "Привет", 144}, {"Arabic", "سلام", 127}, {"Greek", "Καλημέρα", 126}, {"Hebrew", "שלום", 138}, {"Turkish", "Iğdır, pão", 148},
		{"with the euro sign", "5 € š", 203}, {"none of them", "漢字", setUTF8}, {"of two of them", "Привет ü", setUTF8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mapper(t)
			content := there(t, m, "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"+tt.text+"\n")
			o, err := p22.Parse(content)
			if err != nil || len(o.IPM.Body) != 1 || o.IPM.Body[0].Kind != p22.GeneralText {
				t.Fatal(err, o.IPM.Body)
			}
			if got := fmt.Sprint(o.IPM.Body[0].Sets); got != fmt.Sprint([]int64{1, 6, tt.set}) {
				t.Errorf("in sets %s, want %d", got, tt.set)
			}
			if got := textOf(o.IPM.Body[0]); got != tt.text+"\r\n" {
				t.Errorf("read as %q", got)
			}
			if got := strings.Join(meaning(t, back(t, m, content)), "\n"); !strings.Contains(got, "= "+tt.text) {
				t.Errorf("came back as %q", got)
			}
		})
	}
}
