package seal

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// sharePiece is how many customers a worker takes at a time: few enough that all
// end together, many enough that taking costs nothing.
const sharePiece = 32

// share calls fn for 0 to n-1, on all cores where n is worth it. After an error the
// rest may be left out.
func share(n int, fn func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), (n+sharePiece-1)/sharePiece)
	if workers <= 1 {
		for i := range n {
			if err := fn(i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for !failed.Load() {
				from := int(next.Add(sharePiece)) - sharePiece
				if from >= n {
					return
				}
				for i := from; i < min(from+sharePiece, n); i++ {
					if err := fn(i); err != nil {
						errs[w] = err
						failed.Store(true)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
