// Command actionlint is actionlint itself, built from its module like Helm, for the workflows in .github.
package main

import (
	"os"

	"github.com/rhysd/actionlint"
)

func main() {
	lint := actionlint.Command{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(lint.Main(os.Args))
}
