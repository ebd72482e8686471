package control

import (
	"net/http"
	"net/http/pprof"
)

// profiles serves the runtime's own profiles (CPU, heap, goroutines, execution trace) to whoever may operate:
//
//	curl --unix-socket data/control.sock http://gateway/debug/pprof/profile?seconds=10 -o cpu.pprof
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
