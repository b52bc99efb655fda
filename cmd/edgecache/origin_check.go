package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

func (p *program) checkCommand() *cobra.Command {
	var s originSettings
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the origin can work on a PostgreSQL database, and what is missing",
		Long: `Looks at the table of users and at the database as the origin does when it starts, and says
everything that is missing at once, each with the statement or the flag that mends it. It
writes nothing.

Ends with 0 when the origin can start, with 1 when something is missing or the database cannot
be reached, and with 2 when the flags are wrong.`,
		Example: `  edgecache origin check --db postgres://10.0.0.7/hr --table hr.agents
  edgecache origin check --db postgres://10.0.0.7/hr --table agents --columns id=matricule,fullName= --timestamps-in UTC`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runCheck(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.db, "db", "", "database: `postgres://…`; required")
	s.table.flags(f)
	return cmd
}

func (p *program) runCheck(ctx context.Context, s originSettings) error {
	if !isPostgres(s.db) {
		return usagef("--db %q: want the PostgreSQL database to look at, such as postgres://USER@HOST/NAME", redactURL(s.db))
	}
	table, err := s.table.table()
	if err != nil {
		return err
	}
	cfg := postgres.Config{URL: s.db, Users: table}
	if _, err := postgres.New(cfg); err != nil {
		return usagef("--db: %s", strings.TrimPrefix(err.Error(), "source: "))
	}
	var rep *postgres.Report
	err = reach(ctx, func(ctx context.Context) (err error) {
		rep, err = postgres.Check(ctx, cfg)
		return err
	})
	if err != nil {
		return openError(s.db, err)
	}
	return p.showReport(rep)
}

func (p *program) showReport(rep *postgres.Report) error {
	for i, fault := range rep.Faults {
		fmt.Fprintf(p.stdout, "%d. %s\n", i+1, printable(fault))
	}
	for _, note := range rep.Notes {
		fmt.Fprintf(p.stdout, "note: %s\n", printable(note))
	}
	switch n := len(rep.Faults); n {
	case 0:
		fmt.Fprintf(p.stdout, "table %s: the origin can start\n", rep.Table)
		return nil
	case 1:
		return errors.New("table " + rep.Table + ": 1 thing to mend")
	default:
		return fmt.Errorf("table %s: %d things to mend", rep.Table, n)
	}
}
