package dirsync

import (
	"strings"
	"testing"

	"backbone/gateway/address"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func person(name, a string) Identity {
	x, err := address.Parse(a)
	if err != nil {
		panic(err)
	}
	return Identity{name, x}
}

func TestTransactionLines(t *testing.T) {
	kumar, lee := person("Kumar, Mira", "MS:NORTHWIND/PO2/MKUMAR"), person("Lee, Jin", "MS:NORTHWIND/PO2/JLEE")
	for _, tt := range []struct {
		name, text string
		want       []Transaction
		codes      []int
	}{
		{"the reference's example", "R PCM:NORTHWIND/PO2\r\nA Kumar, Mira                    PCM:NORTHWIND/PO2/MKUMAR\r\n- Department:/Stock\r\n- City//State:/Pune//MH\r\n" +
			"M Lee, Jin                       PCM:NORTHWIND/PO2/JLEE\r\n  Lee-Park, Jin                  PCM:NORTHWIND/PO2/JLEE\r\nD Temp One                       PCM:NORTHWIND/PO2/TEMP01\r\n",
			[]Transaction{{Op: Replace, Scope: "PCM:NORTHWIND/PO2", Line: 1}, {Op: Add, New: kumar, Details: []Detail{{"Department", "Stock"}, {"City/State", "Pune/MH"}}, Line: 2},
				{Op: Modify, Old: lee, New: person("Lee-Park, Jin", "MS:NORTHWIND/PO2/JLEE"), Line: 5}, {Op: Delete, Old: person("Temp One", "MS:NORTHWIND/PO2/TEMP01"), Line: 7}}, nil},
		{"numbers before the lines, a tab in the place of columns, CSI for PCM", "1200 A Kumar, Mira\tCSI:NORTHWIND/PO2/MKUMAR\n0000001201 D Lee, Jin\tMS:NORTHWIND/PO2/JLEE\n",
			[]Transaction{{Number: 1200, Op: Add, New: kumar, Line: 1}, {Number: 1201, Op: Delete, Old: lee, Line: 2}}, nil},
		{"one blank in the place of columns", "A Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR\r", []Transaction{{Op: Add, New: kumar, Line: 1}}, nil},
		{"no type is PCM", "A Kumar, Mira NORTHWIND/PO2/MKUMAR", []Transaction{{Op: Add, New: kumar, Line: 1}}, nil},
		{"a type in the name is not the address", "A Dept: Stock                    PCM:NORTHWIND/PO2/STOCK", []Transaction{{Op: Add, New: person("Dept: Stock", "MS:NORTHWIND/PO2/STOCK"), Line: 1}}, nil},
		{"another type, with blanks in the address", "A Ben                            X400:c=US;a= ;p=Northwind;s=Ben;", []Transaction{{Op: Add, New: person("Ben", "X400:c=US;a= ;p=Northwind;s=Ben;"), Line: 1}}, nil},
		{"a template line longer than a name is no name", "A Kumar, Mira                    PCM:NORTHWIND/PO2/MKUMAR\n- " + strings.Repeat("Very long prompt ", 4) + ":/x\n",
			[]Transaction{{Op: Add, New: kumar, Details: []Detail{{strings.Repeat("Very long prompt ", 4), "x"}}, Line: 1}}, nil},
		{"a modify without its second line is reported, and loses nobody", "M Lee, Jin PCM:NORTHWIND/PO2/JLEE\nA Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR", []Transaction{{Op: Add, New: kumar, Line: 2}}, []int{CodeSeparator}},
		{"a modify without its second line at the end", "M Lee, Jin PCM:NORTHWIND/PO2/JLEE\n", nil, []int{CodeSeparator}},
		{"the second line's fault takes the record, and its template lines, with it", "M Lee, Jin PCM:NORTHWIND/PO2/JLEE\n  Lee PCM:NORTHWIND/PO2\n- Title:/x\nA Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR",
			[]Transaction{{Op: Add, New: kumar, Line: 4}}, []int{CodeCharacters}},
		{"a name of 31 characters", "A " + strings.Repeat("N", 31) + "\tPCM:NORTHWIND/PO2/NN", nil, []int{CodeFullName}},
		{"a mailbox of 11 characters", "A Kumar, Mira                    PCM:NORTHWIND/PO2/MKUMARMIRA1", nil, []int{CodeTooLong}},
		{"a mailbox with a dot", "A Kumar, Mira                    PCM:NORTHWIND/PO2/M.KUMAR", nil, []int{CodeCharacters}},
		{"no such operation", "X Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR", nil, []int{CodeCommand}},
		{"no blank behind the operation", "AKumar PCM:NORTHWIND/PO2/MKUMAR", nil, []int{CodeSeparator}},
		{"a line of blanks and a name without an M before it", "  Kumar PCM:NORTHWIND/PO2/MKUMAR", nil, []int{CodeColumn1}},
		{"no address", "A Kumar, Mira", nil, []int{CodeSeparator}},
		{"a template line without the slash", "A Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR\n- Title x", []Transaction{{Op: Add, New: kumar, Line: 1}}, []int{CodeTemplate}},
		{"a template's definition", "T PCM:NORTHWIND/PO2\nTitle:~10~30~E~x~\n", []Transaction{{Op: Define, Scope: "PCM:NORTHWIND/PO2", Prompts: []Prompt{{"Title", 10, 30, "E", "x"}}, Line: 1}}, nil},
		{"a gateway's whole list", "R PROFS:", []Transaction{{Op: Replace, Scope: "PROFS:", Line: 1}}, nil},
		{"a user's own settings", "A Kumar, Mira PCM:NORTHWIND/PO2/MKUMAR\n&12345\n", []Transaction{{Op: Add, New: kumar, Line: 1}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := ParseImport(tt.text)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			var codes []int
			for _, p := range problems {
				codes = append(codes, p.Code)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Errorf("problems %v: -want +got:\n%s", problems, diff)
			}
		})
	}
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	m := Message{Task: Answer, Requestor: "NORTHWIND/PO1", Types: []string{"PCM", "SMTP"}, Templates: true, Password: "x y", Req: Mark{7, 99}, Srv: Mark{12, 1 << 63},
		Base: []Mark{{3, 4}, {5, 6}}, Counts: true, ImpSeq: 2, Cycle: 1234567890123, Full: true, Problems: []Problem{{Code: 72, Line: 3, Text: "too long"}},
		Transactions: []Transaction{{Number: 12, Op: Add, New: person("Kumar, Mira", "MS:NORTHWIND/PO2/MKUMAR")}}}
	for _, form := range []Form{InBody, InAttachment} {
		text := m.Text(form)
		if want := "SrvTx R=7 S=12(was 3) I=2 1 sent"; text.Subject != want {
			t.Errorf("subject %q, want %q", text.Subject, want)
		}
		if (form == InAttachment) != (text.Attachment != "") {
			t.Errorf("%s: attachment %q", form, text.Attachment)
		}
		got, err := Parse("Words before it.\r\n\r\n"+text.Body, text.Attachment)
		if err != nil {
			t.Fatal(err)
		}
		got.Transactions[0].Line = 0
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", form, diff)
		}
	}
}

func TestForeignMessages(t *testing.T) {
	for _, tt := range []struct {
		name, text, fault string
		check             func(Message) bool
	}{
		{"an export as KB Q106623 shows it", "[dirsync]\r\ntask=export\r\nreqname=PCM:FOREIGNNET/FPO\r\ntransactions=inbody\r\n[dirsync-transactions]\r\n1200 A Kumar, Mira                    PCM:FOREIGNNET/FPO/MKUMAR\r\n", "",
			func(m Message) bool {
				return m.Task == Export && m.Requestor == "FOREIGNNET/FPO" && m.Req.Number == 1200 && !m.Counts && len(m.Base) == 0 && len(m.Transactions) == 1
			}},
		{"a request for the list", "[DIRSYNC]\nTASK=IMPORTREQ\nNAME=NET/PO\nTYPES=PCM|CSI|PROFS\nTEMPLATE=YES\n", "", func(m Message) bool {
			return m.Task == ImportRequest && m.Templates && len(m.Types) == 3
		}},
		{"a key that is not known", "[dirsync]\ntask=export\nreqname=NET/PO\nwhatever=x\n", "", func(m Message) bool { return m.Task == Export }},
		{"ordinary text", "Hello\n", "no [dirsync] section", nil},
		{"no requestor", "[dirsync]\ntask=export\n", "REQNAME", nil},
		{"a requestor that is no post office (Q99268)", "[dirsync]\ntask=export\nreqname=PCM:NET\n", "requestor", nil},
		{"the internal form", "[dirsync]\ntask=export\nreqname=NET/PO\ntransactions=internal\n", "not public", nil},
		{"a number that is none", "[dirsync]\ntask=export\nreqname=NET/PO\nsrvseq=abc\n", "line 4", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Parse(tt.text)
			switch {
			case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("error %v, want one with %q", err, tt.fault)
			case tt.fault == "" && (err != nil || !tt.check(m)):
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[dirsync]\r\nTASK=EXPORT\r\nREQNAME=PCM:NET/PO\r\nXBB-BASE=1:2,3:4\r\n[dirsync-transactions]\r\n12 A Kumar, Mira                    PCM:NET/PO/MKUMAR\r\n- City//State:/x\r\n", "")
	f.Add("[dirsync]\nname=NET/PO\n", "[dirsync-transactions]\nM a PCM:N/P/A\n  b\tSMTP:b@c.d\nR PCM:N/P\nT PCM:N/P\nTitle:~1~2~E~d~\n")
	f.Fuzz(func(t *testing.T, body, attachment string) {
		m, err := Parse(body, attachment)
		if err != nil {
			return
		}
		if len(m.Transactions) > strings.Count(body+attachment, "\n")+strings.Count(body+attachment, "\r")+2 {
			t.Errorf("%d transactions of %d octets", len(m.Transactions), len(body)+len(attachment))
		}
		for i := range m.Problems {
			m.Problems[i] = Problem{}
		}
		m.Problems = nil
		text := m.Text(InBody)
		again, err := Parse(text.Body)
		if err != nil {
			t.Fatalf("what was read can't be read again: %v\n%s", err, text.Body)
		}
		if len(again.Problems) > 0 || len(again.Transactions) != len(m.Transactions) {
			t.Fatalf("%d transactions become %d, with %v\n%q", len(m.Transactions), len(again.Transactions), again.Problems, text.Body)
		}
		for i := range m.Transactions {
			m.Transactions[i].Line, again.Transactions[i].Line = 0, 0
			if m.Transactions[i].Number == 0 {
				again.Transactions[i].Number = 0
			}
		}
		if diff := cmp.Diff(m.Transactions, again.Transactions, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("-read +again:\n%s\n%q", diff, text.Body)
		}
	})
}
