package source_test

import (
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
)

func TestSQLiteStore(t *testing.T) { truth.TestStore(t, truth.MakeSQLite) }
