package drill

// Page returns the result as one page.
func Page(r *Result) ([]byte, error) { return nil, nil }

// Picture returns a variant's plot.
func Picture(r *Result, v *VariantResult) string { return "" }
