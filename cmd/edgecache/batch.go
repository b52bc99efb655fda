package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// maxInput is the largest file of ids, or of a profile, in bytes.
const maxInput = 2 << 20

// batch is the command "batch".
type batch struct {
	*program
	node         nodeClient
	file, output string
}

func (p *program) batchCommand() *cobra.Command {
	b := batch{program: p}
	cmd := &cobra.Command{
		Use:   "batch [ID...]",
		Short: "Show many users at once",
		Long: `Asks a node for up to 10,000 users in one request. Ids are arguments, or come from a file,
separated by spaces, commas or lines. Ends with 1 when a user is missing or failed.`,
		Example: `  edgecache batch 1 2 3
  edgecache batch --file ids.txt --output table
  seq 1 500 | edgecache batch --file - > users.json`,
		RunE: func(cmd *cobra.Command, ids []string) error { return b.run(cmd.Context(), ids) },
	}
	b.node.flags(p, cmd, auth.RoleRead)
	cmd.Flags().StringVar(&b.file, "file", "", "`FILE` of ids; - is the standard input")
	cmd.Flags().StringVar(&b.output, "output", "json", "`FORM` of what is printed: json or table")
	return cmd
}

func (b *batch) run(ctx context.Context, ids []string) error {
	if b.output != "json" && b.output != "table" {
		return usagef("--output %q: want json or table", b.output)
	}
	ids, err := b.allIDs(ids)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return err
	}
	a, err := b.node.do(ctx, http.MethodPost, "/v1/users/batch", body)
	if err != nil {
		return err
	}
	return b.print(a.Body, ids)
}

// allIDs returns the ids of the command line and those of the file.
func (b *batch) allIDs(ids []string) ([]string, error) {
	if b.file != "" {
		text, err := b.read(b.file)
		if err != nil {
			return nil, err
		}
		ids = append(ids, strings.FieldsFunc(string(text), func(r rune) bool { return r == ',' || unicode.IsSpace(r) })...)
	}
	if len(ids) == 0 {
		return nil, usagef("batch wants ids, such as: edgecache batch 1 2 3, or --file FILE")
	}
	return ids, nil
}

// read returns the contents of a file, or of the standard input for "-".
func (p *program) read(file string) ([]byte, error) {
	in := p.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("%s is larger than %d MiB", file, maxInput>>20)
	}
	return text, err
}

// users is a node's answer to a batch.
type users struct {
	Users   map[string]*profile.Profile `json:"users"`
	Missing []string                    `json:"missing"`
	Errors  map[string]string           `json:"errors"`
}

func (b *batch) print(body []byte, ids []string) error {
	var u users
	if err := json.Unmarshal(body, &u); err != nil {
		return fmt.Errorf("the node's answer is no batch: %w", err)
	}
	var err error
	if b.output == "table" {
		err = u.printTable(b.stdout, ids)
	} else {
		err = b.printJSON(body)
	}
	if n := len(u.Missing) + len(u.Errors); err == nil && n > 0 {
		err = fmt.Errorf("%d of %d users are missing or failed", n, n+len(u.Users))
	}
	return err
}

// printTable writes one line per user, in the order asked for.
func (u users) printTable(out io.Writer, ids []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tMATRICULE\tMINISTERE\tNOTE")
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			u.printRow(w, id)
		}
	}
	return w.Flush()
}

func (u users) printRow(w io.Writer, id string) {
	if found := u.Users[id]; found != nil {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", id, printable(found.FullName), printable(found.Matricule), printable(found.Ministere))
		return
	}
	note := "missing"
	if why, failed := u.Errors[id]; failed {
		note = printable(why)
	}
	fmt.Fprintf(w, "%s\t\t\t\t%s\n", printable(id), note)
}
