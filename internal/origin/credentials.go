package origin

// credentials counts the sessions in the table, serving or leaving, by credential
// and name. Guarded by Table.mu.
type credentials map[any]map[Name]int

// admits reports whether a credential may serve name when it may serve limit names.
func (c credentials) admits(credential any, name Name, limit int) bool {
	names := c[credential]
	return names[name] > 0 || len(names) < limit
}

// add counts a session.
func (c credentials) add(credential any, name Name) {
	names := c[credential]
	if names == nil {
		names = make(map[Name]int)
		c[credential] = names
	}
	names[name]++
}

// remove takes back an add.
func (c credentials) remove(credential any, name Name) {
	names := c[credential]
	if names[name]--; names[name] == 0 {
		delete(names, name)
	}
	if len(names) == 0 {
		delete(c, credential)
	}
}
