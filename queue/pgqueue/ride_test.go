package pgqueue

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// TestWhoGivesUpInAGroupIsNotCarried, and is not given the lead, which would stop the group for ever.
func TestWhoGivesUpInAGroupIsNotCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var carried []int
		under := make(chan struct{})
		g := &group[int]{carry: func(cs []int) bool {
			carried = append(carried, cs...)
			if cs[0] == 1 {
				<-under
			}
			return true
		}}
		ended := make(chan error, 3)
		ride := func(ctx context.Context, n int) {
			go func() { ended <- g.ride(ctx, t.Context(), n) }()
			synctest.Wait()
		}
		ride(t.Context(), 1)
		impatient, cancel := context.WithCancel(t.Context())
		ride(impatient, 2)
		ride(t.Context(), 3)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
		close(under)
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(carried, []int{1, 3}) {
			t.Errorf("carried %v, want the first and the third", carried)
		}
	})
}
