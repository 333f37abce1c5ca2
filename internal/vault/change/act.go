package change

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Desk takes requests for acts that need a second person, the decisions about them, and
// makes them. The wings register their acts with [Register].
type Desk struct {
	Door      *door.Door
	Ledger    *ledger.Ledger
	DB        *db.DB
	Ring      *keys.Ring
	Revisions *revision.Tracker
	// Receivers tells whether the alarm of an act reached somebody. Nil: there are none.
	Receivers Receivers
	// Patience is how long the alarm of an act is tried before the act takes effect
	// without it, marked unsent. 0 means [DefaultPatience].
	Patience time.Duration
	// Glass is how long broken glass waits. 0 means [DefaultGlass].
	Glass time.Duration
	// Wait is how long a request waits in its own answer for a receiver. 0 means DefaultWait,
	// less than 0 not at all.
	Wait time.Duration
	*follow.Loop

	acts map[string]registered
	mu   sync.Mutex
	ever bool            // two people have once existed; it never goes back
	busy map[string]bool // the requests that this server makes now
}

// DefaultWait is how long a caller waits for a receiver of the alarm, before they are
// answered that the act takes effect later.
const DefaultWait = 8 * time.Second

// DefaultPatience is how long the alarm of an act is tried.
const DefaultPatience = 10 * time.Minute

// Receivers knows who gets the alarms of brands.
type Receivers interface {
	// Handed reports whether somebody receives the alarms of one of the places, and
	// whether one of them took the alarm of the entry there.
	Handed(ctx context.Context, at []Place) (any, handed bool, err error)
}

// Place is an entry of a brand's log.
type Place struct {
	Brand record.BrandID
	Entry uint64
}

// Need says whether an instance of an act needs a second person.
type Need struct {
	// Two: it takes effect only when a second person approves it.
	Two bool
	// Widens: somebody can see more people, or more of them, after it. Break glass then
	// needs another human too.
	Widens bool
}

// Text is what the officer reads before they decide.
type Text struct {
	Title string   // what the act does, in one sentence
	Lines []string // what changes, line by line, as things are now
	// Private are lines for those who may approve, and not for the requester.
	Private []string
}

// Order says for whom an act is checked and made.
type Order struct {
	ID     string // of the request; empty where the act needs nobody else
	Who    identity.Who
	Second identity.Who // the person who approved it; zero where nobody did
	Mark   string
	Ticket string
}

// Act is one kind of act that may need a second person. P is what is asked for: it is
// stored as JSON, sealed. R is what the act gives.
type Act[P, R any] struct {
	// Name is a stable word for the act. It stands in the log.
	Name string
	// Action is what the requester must be allowed at the brand of the request, when they
	// ask and still when the act takes effect.
	Action access.Action
	// Need says whether this instance needs a second person: by what it changes as things
	// are now, not by how it is asked for.
	Need func(ctx context.Context, o Order, p P) (Need, error)
	// Text describes the act to the officer.
	Text func(ctx context.Context, o Order, p P) (Text, error)
	// Check refuses what cannot be done as things are now, such as a change of a version
	// that is no more in force. It runs when the act is asked for, and again before it
	// takes effect. Nil: nothing to check.
	Check func(ctx context.Context, o Order, p P) error
	// Brands are the brands that the act concerns beside the one that it is asked at:
	// their logs say so, and their receivers are alarmed. Nil: none.
	Brands func(p P) []record.BrandID
	// Apply makes the act, with its own entry, by [Maker.Make] where it has a transaction:
	// the request is then done in the same one.
	Apply func(ctx context.Context, o Order, p P) (R, error)
	// Answers: the result is shown once to the person by whose hand the act takes effect,
	// as an invitation's code is. Such an act never takes effect in the background.
	Answers bool
	// ToAsker: the act takes effect only when the requester, once it is approved, asks for the
	// same once more, and the result is theirs.
	ToAsker bool
}

// registered is an act whose types only its handle knows.
type registered struct {
	action  access.Action
	answers bool
	toAsker bool
	need    func(ctx context.Context, o Order, p []byte) (Need, error)
	text    func(ctx context.Context, o Order, p []byte) (Text, error)
	check   func(ctx context.Context, o Order, p []byte) error
	brands  func(p []byte) ([]record.BrandID, error)
	apply   func(ctx context.Context, o Order, p []byte) (any, error)
}

// Handle asks for one kind of act.
type Handle[P, R any] struct {
	desk *Desk
	name string
}

// Register adds an act. It is called while the vault is put together, once for each name.
func Register[P, R any](d *Desk, a Act[P, R]) *Handle[P, R] {
	if d.acts == nil {
		d.acts = map[string]registered{}
	}
	if _, twice := d.acts[a.Name]; twice || a.Name == "" || a.Action == "" || a.Need == nil || a.Text == nil || a.Apply == nil {
		panic("change: an act that is registered twice or lacks a part: " + a.Name)
	}
	read := func(b []byte) (p P, err error) {
		if err = json.Unmarshal(b, &p); err != nil {
			err = fmt.Errorf("reading a request for %s: %w", a.Name, err)
		}
		return p, err
	}
	d.acts[a.Name] = registered{
		action: a.Action, answers: a.Answers, toAsker: a.ToAsker,
		need: func(ctx context.Context, o Order, b []byte) (Need, error) {
			p, err := read(b)
			if err != nil {
				return Need{}, err
			}
			return a.Need(ctx, o, p)
		},
		text: func(ctx context.Context, o Order, b []byte) (Text, error) {
			p, err := read(b)
			if err != nil {
				return Text{}, err
			}
			return a.Text(ctx, o, p)
		},
		check: func(ctx context.Context, o Order, b []byte) error {
			p, err := read(b)
			if err != nil || a.Check == nil {
				return err
			}
			return a.Check(ctx, o, p)
		},
		brands: func(b []byte) ([]record.BrandID, error) {
			p, err := read(b)
			if err != nil || a.Brands == nil {
				return nil, err
			}
			return a.Brands(p), nil
		},
		apply: func(ctx context.Context, o Order, b []byte) (any, error) {
			p, err := read(b)
			if err != nil {
				return nil, err
			}
			return a.Apply(ctx, o, p)
		},
	}
	return &Handle[P, R]{d, a.Name}
}

// Do asks for the act at a visit's brand. It returns once the act took effect: at once
// where it needs nobody else, and in the alone phase. Where a second person has to approve
// it, the request is stored and the error is a [PendingError].
func (h *Handle[P, R]) Do(ctx context.Context, v *door.Visit, ticket string, p P) (R, error) {
	var none R
	b, err := json.Marshal(p)
	if err != nil {
		return none, fmt.Errorf("writing a request for %s: %w", h.name, err)
	}
	out, err := h.desk.do(ctx, v, h.name, ticket, b)
	if err != nil {
		return none, err
	}
	r, ok := out.(R)
	if !ok {
		return none, nil // an interface or pointer that is nil
	}
	return r, nil
}
