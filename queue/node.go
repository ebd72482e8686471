package queue

import "time"

// Node is a gateway on a queue that several share.
type Node struct {
	Name   string `json:"name"`
	Leases int    `json:"leases"` // what it has under way
	// Silent tells that it has not said that it lives for longer than it may: it is down, or cut off. Until is when that was, or
	// will be if it says nothing more.
	Silent bool      `json:"silent,omitempty"`
	Until  time.Time `json:"until"`
}
