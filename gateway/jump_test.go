package gateway_test

import (
	"testing"
	"time"

	"backbone/gateway"
	"backbone/gateway/mail"
	"backbone/queue"
)

// jumping is a rig whose system clock has been set forward by what the returned function sleeps.
func jumping(r *rig) (jump func(time.Duration)) {
	start, lost := time.Now(), time.Duration(0)
	r.stop()
	r.o.Clock = func() (time.Time, time.Duration) { return time.Now().Round(0), time.Since(start) - lost }
	g, err := gateway.New(r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.g = g
	r.run()
	return func(d time.Duration) {
		r.stop() // so that nothing happens meanwhile
		lost += d
		time.Sleep(d)
		r.run()
	}
}

func TestAClockSetForwardByAYearLosesNoMail(t *testing.T) {
	inBubble(t, func(r *rig) {
		jump := jumping(r)
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		if err := r.g.Suspend(t.Context(), queue.Suspension{Dest: queue.Dest{Connector: "imc"}, By: "kim", Reason: "works"}); err != nil {
			t.Fatal(err)
		}
		r.must("SMTP:lee@elsewhere.example", nil)
		jump(365 * 24 * time.Hour)
		r.after(20 * time.Hour)
		for _, rep := range r.reports() {
			for _, p := range rep.Recipients {
				if p.Action == "failed" {
					t.Errorf("given up: %+v", p)
				}
			}
		}
		r.site.says(nil)
		if err := r.g.Resume(t.Context(), queue.Dest{Connector: "imc"}, "kim"); err != nil {
			t.Fatal(err)
		}
		r.after(time.Hour)
		r.expect("delivered", len(r.site.received())+len(r.imc.received()), 2)
	})
}

func TestAClockThatNobodyPutsRightIsBelieved(t *testing.T) {
	inBubble(t, func(r *rig) {
		jump := jumping(r)
		r.site.says(unplugged)
		r.must("MS:NET/PO2/JLEE", nil)
		jump(365 * 24 * time.Hour)
		r.after(49 * time.Hour)
		r.expect("waiting", len(r.waiting()), 0)
	})
}

func TestMailThatAClockAheadPutOffIsDueWhenItIsPutRight(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.site.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.2", Text: "busy"})
		r.must("MS:NET/PO2/JLEE", nil)
		r.site.says(nil)
		if err := r.g.BringForward(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("delivered by a clock that is right", len(r.site.received()), 0)
		if err := r.g.BringForward(t.Context(), time.Now().Add(-365*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.expect("delivered", len(r.site.received()), 1)
	})
}

func TestAClockThatIsPutRightWhileTheGatewayRunsMakesDueWhatItPutOff(t *testing.T) {
	inBubble(t, func(r *rig) {
		start, back := time.Now(), time.Duration(0)
		r.stop()
		r.o.Clock = func() (time.Time, time.Duration) { return time.Now().Round(0).Add(-back), time.Since(start) }
		g, err := gateway.New(r.o)
		if err != nil {
			t.Fatal(err)
		}
		r.g = g
		r.run()
		r.site.says(&mail.Failure{Class: mail.Transient, Scope: mail.ScopeMessage, Code: 451, Enhanced: "4.3.2", Text: "busy", RetryAfter: 6 * time.Hour})
		r.must("MS:NET/PO2/JLEE", nil)
		r.site.says(nil)
		r.stop()
		back = 365 * 24 * time.Hour
		r.run()
		r.after(10*time.Minute + time.Second)
		r.expect("delivered", len(r.site.received()), 1)
	})
}
