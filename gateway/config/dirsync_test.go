package config

import (
	"strings"
	"testing"
)

func TestDirectorySections(t *testing.T) {
	const site = "[site]\nname = \"SITEA\"\ndomains = [\"sitea.example\"]\nms = \"NET/SITEA\"\n"
	for _, tt := range []struct{ name, text, fault string }{
		{"post offices and times", site + "[dirsync]\nt1 = [\"01:30\", \"Sun 12:00\"]\n[[dirsync.requestor]]\naddress = \"net/po1\"\ntypes = [\"SMTP\"]\n", ""},
		{"a time that is none", site + "[dirsync]\nt1 = [\"25:00\"]\n", "is no time"},
		{"a day that is none", site + "[dirsync]\nt2 = [\"Someday 12:00\"]\n", "no day of the week"},
		{"a post office that is none", site + "[[dirsync.requestor]]\naddress = \"PO1\"\n", "write NET/PO"},
		{"a post office twice", site + "[[dirsync.server]]\naddress = \"NET/PO1\"\n[[dirsync.server]]\naddress = \"NET/PO1\"\n", "there twice"},
		{"a post office behind that is none", site + "[[dirsync.requestor]]\naddress = \"NET/PO1\"\nbehind = [\"PO8\"]\n", "write NET/PO"},
		{"post offices behind a server", site + "[[dirsync.server]]\naddress = \"NET/PO1\"\nbehind = [\"NET/PO8\"]\n", "this key is for requestors"},
		{"no shadow post office", strings.Replace(site, "ms = \"NET/SITEA\"\n", "", 1) + "[[dirsync.requestor]]\naddress = \"NET/PO1\"\n", "write site.ms"},
		{"itself as a partner", site + "[[replication.partner]]\nsite = \"SITEA\"\nconnectors = [\"x\"]\n", "another site"},
		{"a connector that is not there", site + "[[replication.partner]]\nsite = \"SITEB\"\nconnectors = [\"x\"]\n", "there is no [connector.x]"},
		{"by mail without a key", site + "[[replication.partner]]\nsite = \"SITEB\"\nconnectors = [\"x\"]\naddress = \"MS:NET/SITEB/$SYSTEM\"\n", "a secret that both sites share"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("x.toml", t.TempDir(), []byte(tt.text), nil)
			switch {
			case tt.fault == "" && err != nil, tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("got %v, want %q", err, tt.fault)
			case tt.fault == "" && (c.DirSync.Requestors[0].Address != "NET/PO1" || len(c.DirSync.T1) != 2 || c.DirSync.T1[1].String() != "Sun 12:00"):
				t.Errorf("%+v", c.DirSync)
			}
		})
	}
}
