package revision

import (
	"context"
	"sync"
)

// maxCached bounds the values of one cache; beyond it the cache begins anew.
const maxCached = 1 << 14

// Cache keeps values that follow from a revision. The zero value is empty and ready.
type Cache[K comparable, V any] struct {
	mu     sync.RWMutex
	rev    int64 // no value is older than this
	era    int64 // nor than this
	values map[K]V
}

// Get returns the value of k, loading it where there is none that is as new as the
// revision of the request. Without a revision in ctx it always loads. Errors are not
// kept: who is unknown may be known a moment later.
func (c *Cache[K, V]) Get(ctx context.Context, k K, load func() (V, error)) (V, error) {
	a := of(ctx)
	if a == nil || a.rev == 0 {
		return load()
	}
	rev, era := a.rev, a.era
	c.mu.RLock()
	v, ok := c.values[k]
	ok = ok && c.rev >= rev && c.era >= era
	c.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := load() // began after rev was committed, so it is not older
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rev < rev || c.era < era || c.values == nil || len(c.values) >= maxCached {
		c.rev, c.era, c.values = max(c.rev, rev), max(c.era, era), map[K]V{}
	}
	if c.rev == rev && c.era == era {
		c.values[k] = v
	}
	return v, nil
}
