package entry

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// A log that lost its end, by a restore or a failover, does not go on under its old name:
// a witness or server that had seen more would take every later checkpoint for a fork. It
// begins a new epoch. The tree continues, so that the entries before and after are one log;
// the origin of its checkpoints changes, and the first entry under the new origin is of
// the kind [KindEpoch].

// Why an epoch begins.
const (
	CauseRestore    = "restore"     // the vault was restored from a backup
	CauseAcceptLoss = "accept-loss" // people accepted that entries are lost
)

// Who let an epoch begin, beside [ByOwner]: the owner of the machine, by a restore.
const (
	ByTwoPeople  = "two-people"  // two people with a role in the intact part of the log
	ByBreakGlass = "break-glass" // the local administrator, where fewer than two were left
)

// EpochBegun is the detail of a KindEpoch entry, the first of its epoch.
type EpochBegun struct {
	Epoch uint64 `log:"epoch,clear,always"` // its number; the first, which no entry begins, is 1
	Name  string `log:"name,clear,always"`  // what the origin of its checkpoints ends with
	Cause string `log:"cause,clear,always"`
	By    string `log:"by,clear,always"`
	// Checkpoint is the newest of the epoch before, over all entries before this one.
	Checkpoint string `log:"checkpoint,clear,always"`
	// Kept is the newest checkpoint known that the log does not continue; empty for none.
	Kept string `log:"kept,clear"`
	// Missing is how many entries Kept has beyond Checkpoint.
	Missing uint64 `log:"missing,clear"`
	// First and Second are the principals who confirmed the loss.
	First  uint64 `log:"first"`
	Second uint64 `log:"second"`
	Reason string `log:"reason"`
	Extra
}

var epochName = regexp.MustCompile(`^([1-9][0-9]{0,9})-[0-9a-f]{8}$`)

// NewEpochName names an epoch of that number. Two copies of a log that each begin one, such
// as two restores of a backup, never share its name.
func NewEpochName(number uint64) string {
	var b [4]byte
	rand.Read(b[:])
	return strconv.FormatUint(number, 10) + "-" + hex.EncodeToString(b[:])
}

// EpochNumber returns the number in an epoch's name: 1 for the empty name of the first.
func EpochNumber(name string) (uint64, bool) {
	if name == "" {
		return 1, true
	}
	m := epochName.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	return n, err == nil && n > 1
}

// EpochOrigin returns the origin of an epoch's checkpoints.
func EpochOrigin(log, name string) string {
	if name == "" {
		return log
	}
	return log + "@" + name
}

// SplitOrigin returns the name of the log and of the epoch that an origin has.
func SplitOrigin(origin string) (log, name string) {
	if i := strings.LastIndexByte(origin, '@'); i >= 0 {
		if _, ok := EpochNumber(origin[i+1:]); ok {
			return origin[:i], origin[i+1:]
		}
	}
	return origin, ""
}
