package address_test

import (
	"testing"

	"backbone/gateway/address"
)

func TestTextBeyondASCIIStandsInDigits(t *testing.T) {
	for _, tt := range []struct{ surname, text string }{
		{"Müller", "/S=*M{200}uller/C=DE/"},
		{"Øst=Å/ß", "/S=*{233}st$={202}A$/{251}/C=DE/"},
		{"«a@b»", "/S=*{171}a{064}b{187}/C=DE/"},
		{"Кумар", "/S=Кумар/C=DE/"}, // T.61 has no Cyrillic
		{"A*B{1}", "/S=A*B{1}/C=DE/"},
	} {
		o := address.ORAddress{C: "DE", S: tt.surname}
		if got := o.MIXER(); got != tt.text {
			t.Errorf("%s is written %s, want %s", tt.surname, got, tt.text)
		}
		if got, err := address.ParseORAddress(tt.text); err != nil || got.S != tt.surname {
			t.Errorf("%s is read as %q, %v", tt.text, got.S, err)
		}
	}
	for text, want := range map[string]string{
		"/S=Mueller*M{200}uller/C=DE/": "Müller", // both forms: the richer one
		"/S=x/OU=*{200}u/O=y/C=DE/":    "x",
		"/S=*{065}/C=DE/":              "*{065}", // nobody had to write it so
		"/S=*{20}/C=DE/":               "*{20}",
		"/S=*{999}/C=DE/":              "*{999}",
		"/S=*{200u/C=DE/":              "*{200u",
		"/S=*{200}u{/C=DE/":            "*{200}u{",
		"/S=*{200}u{}/C=DE/":           "*{200}u{}",
		"/S=*{200}u{027}/C=DE/":        "*{200}u{027}", // an escape sequence for a terminal
		"s=*M{200}uller;c=DE":          "Müller",
		"/S=*{200117}/C=DE/":           "ü",
		"/PN=Mira.*K{200}umar/C=DE/":   "Kümar",
	} {
		got, err := address.ParseORAddress(text)
		if err != nil || got.S != want {
			t.Errorf("%s is read as %q, %v, want %q", text, got.S, err, want)
		}
	}
	if got, err := address.ParseORAddress("/S=x/OU=*{200}u/O=y/C=DE/"); err != nil || got.OU[0] != "ü" {
		t.Errorf("a unit is read as %q, %v", got.OU[0], err)
	}
}
