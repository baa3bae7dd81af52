package main

import (
	"fmt"
	"io"
	"os"
)

// exitWithStdinVariable is the environment variable that makes a component exit with the process that started it.
const exitWithStdinVariable = "BARTIZAN_EXIT_WITH_STDIN"

// exitWithStdin makes this process end when its standard input does, if the
// environment asks for it.
//
// The harness holds the other end of the pipe. The kernel closes it however the harness dies, SIGKILL included, so no
// test run leaves servers behind. It needs no unsafe code on either side and works on every Unix, unlike
// PR_SET_PDEATHSIG.
func exitWithStdin(name string) {
	if os.Getenv(exitWithStdinVariable) != "1" {
		return
	}
	go func() {
		// Nothing is ever written; any input is dropped.
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Fprintf(os.Stderr, "control-plane: the parent of %s is gone, exiting\n", name)
		// No graceful stop: the data lies in a temporary folder that nobody
		// will read again, and an API server drains for as long as it likes.
		os.Exit(1)
	}()
}
