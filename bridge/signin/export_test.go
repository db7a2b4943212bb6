package signin

// LocalPath is localPath.
func LocalPath(next string) string { return localPath(next) }

// ReadKeys is readKeys without the keys that cannot be used.
func ReadKeys(body []byte) ([]byte, error) {
	usable, _, err := readKeys(body)
	return usable, err
}
