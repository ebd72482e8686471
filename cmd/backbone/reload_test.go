package main

import (
	"slices"
	"strings"
	"testing"

	"backbone/gateway/address"
	"backbone/gateway/directory"
)

// Joined sites route by what our directory says of our connectors: a new address space must stand there too.
func TestAReloadTellsJoinedSitesOfNewAddressSpaces(t *testing.T) {
	s := idleSite(t)
	appendTo(t, s.cfg.Path, "", func(text string) string {
		return strings.Replace(text, "type = \"smtp\"\n", "type = \"smtp\"\nspace = [ { address = \"SMTP:*@fabrikam.example\", cost = 7 } ]\n", 1)
	})
	out, err := s.reload(false)
	if err != nil || !out.Applied {
		t.Fatalf("reload: %+v, %v", out, err)
	}
	told := func(e directory.Entry) bool {
		return e.Name == "imc" && slices.ContainsFunc(e.Spaces, func(a address.Space) bool { return a.Pattern == "*@fabrikam.example" && a.Cost == 7 })
	}
	if got := s.dir.Connectors(); !slices.ContainsFunc(got, told) {
		t.Errorf("the directory says %+v", got)
	}
}
