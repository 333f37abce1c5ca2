package access

// For returns what the policy lets roles, and the principals that it names, do on fields
// for a purpose.
func (p *Policy) For(purpose string) []Change {
	var out []Change
	for _, role := range Roles() {
		for _, principal := range append([]uint64{0}, p.named()...) {
			for _, action := range Actions() {
				if !action.onFields() {
					continue
				}
				if fields := p.ask(question{principal, role, action, purpose}).fields; fields != 0 {
					out = append(out, Change{Role: role, Principal: principal, Action: action, Purpose: purpose, Gained: fields})
				}
			}
		}
	}
	return out
}
