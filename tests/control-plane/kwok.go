package main

import (
	"github.com/spf13/pflag"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// runKwok simulates the kubelets and the volume provisioner: it moves nodes, pods and volumes through the stages in
// stages/.
func runKwok(args []string) int {
	ctx := signals.SetupSignalContext()

	// kwok parses its command line twice: once for logging and configuration only, which must be in the context before
	// the command is built, and once more with all flags. Hence a flag set that tolerates unknown flags.
	flags := pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, _ = log.InitFlags(ctx, flags)
	ctx, err := config.InitFlags(ctx, flags)
	if err != nil {
		return fail("kwok", err)
	}

	command := cmd.NewCommand(ctx)
	// A command with a version gets a --version flag, which component-base, linked
	// in for the other components, has already defined.
	command.Version = ""
	command.PersistentFlags().AddFlagSet(flags)
	command.SetArgs(args[1:])
	if err := command.ExecuteContext(ctx); err != nil {
		return fail("kwok", err)
	}
	return 0
}
