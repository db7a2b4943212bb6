package backup

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// clientParameters are the parameters of an address that PostgreSQL's own programs know
// (postgresql.org/docs/current/libpq-connect.html), without passwords. Of the others, pgx passes
// some to the server and keeps some, such as pool_max_conns.
var clientParameters = []string{
	"host", "hostaddr", "port", "dbname", "user", "passfile", "connect_timeout", "options", "application_name", "service",
	"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslsni", "gssencmode", "krbsrvname", "channel_binding", "target_session_attrs",
}

// IsPostgres reports whether an address is that of a PostgreSQL database.
func IsPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

// DumpCommand returns the shell command that writes a PostgreSQL database into a file. It has no
// password: pg_dump asks for it.
func DumpCommand(address, file string) string {
	return fmt.Sprintf("pg_dump --format=custom --file=%s %s", quote(file), quote(withoutPassword(address)))
}

// LoadCommand returns the shell command that replaces a PostgreSQL database by the content of a file.
func LoadCommand(address, file string) string {
	return fmt.Sprintf("pg_restore --clean --if-exists --no-owner --single-transaction --dbname=%s %s", quote(withoutPassword(address)), quote(file))
}

// withoutPassword returns an address without its passwords, and with the parameters that PostgreSQL's
// own programs accept.
func withoutPassword(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	rest, query, _ := strings.Cut(rest, "?")
	host, name, hasName := strings.Cut(rest, "/")
	user := ""
	if at := strings.LastIndex(host, "@"); at >= 0 {
		user, _, _ = strings.Cut(host[:at], ":")
		user, host = user+"@", host[at+1:]
	}
	rest = host
	if hasName {
		rest += "/" + name
	}
	kept := url.Values{}
	values, _ := url.ParseQuery(query) // store.CheckAddress has accepted the address
	for name, all := range values {
		if slices.Contains(clientParameters, name) {
			kept[name] = all
		}
	}
	if len(kept) > 0 {
		// libpq does not read + as a space.
		rest += "?" + strings.ReplaceAll(kept.Encode(), "+", "%20")
	}
	return scheme + "://" + user + rest
}

// quote writes a text as one word of a POSIX shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
