package tracking

// Listen has f called with each event that Append writes from now on, once it is written and before Append returns, in the
// order of the file, until stop is called. It is for this process's own counters, at a tenth of what Follow costs, which reads the file again. f is called by the log's
// writer: it must be quick and may not call the log. It sees the event as it was appended, with its subject.
func (l *Log) Listen(f func(Event)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ear := &f
	l.ears = append(l.ears[:len(l.ears):len(l.ears)], ear)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		var left []*func(Event)
		for _, e := range l.ears {
			if e != ear {
				left = append(left, e)
			}
		}
		l.ears = left
	}
}

// tell calls the listeners.
func (l *Log) tell(ps []*pending) {
	l.mu.RLock()
	ears := l.ears
	l.mu.RUnlock()
	for _, f := range ears {
		for _, p := range ps {
			for _, e := range p.events {
				(*f)(e)
			}
		}
	}
}
