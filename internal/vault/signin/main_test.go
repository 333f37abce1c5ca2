package signin_test

import (
	"os"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Tests{M: m}.Run()) }
