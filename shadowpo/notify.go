package shadowpo

import (
	"log/slog"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// notifier turns the system's word about changes in a folder into hints to look now. It is never relied on: the
// changes that other machines make on a share are not seen (inotify is blind there), events are lost when many
// come, and a system out of watches gives none.
type notifier struct {
	hint chan struct{}
	log  *slog.Logger
	w    *fsnotify.Watcher
	dir  string
	done sync.WaitGroup
}

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{hint: make(chan struct{}, 1), log: log}
}

// watch begins to watch dir, or goes on when it does already.
func (n *notifier) watch(dir string) {
	if n.dir == dir {
		return
	}
	n.unwatch()
	n.dir = dir // also when it fails: once is enough
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(dir); err != nil {
			if cerr := w.Close(); cerr != nil {
				n.log.Debug("closing watcher", "err", cerr)
			}
		}
	}
	if err != nil {
		n.log.Info("no notification of new files: polling alone", "dir", dir, "err", err)
		return
	}
	n.w = w
	n.done.Go(func() {
		for {
			select {
			case _, ok := <-w.Events:
				if !ok {
					return
				}
			case _, ok := <-w.Errors:
				if !ok {
					return
				}
			}
			select {
			case n.hint <- struct{}{}:
			default:
			}
		}
	})
}

func (n *notifier) unwatch() {
	if n.w != nil {
		if err := n.w.Close(); err != nil {
			n.log.Debug("closing watcher", "err", err)
		}
		n.done.Wait()
	}
	n.w, n.dir = nil, ""
}

func (n *notifier) close() { n.unwatch() }
