package signin

// LocalPath is what Begin makes of next.
func LocalPath(next string) string { return localPath(next) }
