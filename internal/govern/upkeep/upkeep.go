// Package upkeep keeps a vault well: it rotates keys, erases old values of the log, carries
// out what a server left behind that stopped, checks the database and repairs what it can.
// It shows nothing of any customer.
package upkeep

import (
	"sync"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/erase"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/canary"
)

// ErrRequest is joined to errors that the request itself is to blame for.
var ErrRequest = fault.New(fault.Invalid, "invalid request")

// Desk takes care of a vault.
type Desk struct {
	DB       *db.DB
	Ring     *keys.Ring
	Door     *door.Door
	Ledger   *ledger.Ledger
	Changes  *change.Maker
	Seal     *seal.Store
	Erase    *erase.Desk
	Canaries *canary.Store
	// Granted are the tables that grant or stop something.
	Granted []Granted
	// Menders are the stores of tables whose rows can be made again.
	Menders []Mender

	once  sync.Once
	begun chan struct{} // by wake: a rotation was begun here

	expiring sync.Map // brands whose values are being erased

	// Set by Register.
	rotate     *change.Handle[rotated, *api.Rotation]
	rotateRoot *change.Handle[rotated, *api.RootRotated]
	accept     *change.Handle[lost, *api.LossAccepted]
}
