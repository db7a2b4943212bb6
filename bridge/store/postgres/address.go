package postgres

import (
	"errors"
	"io/fs"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Check returns what is wrong with an address, "postgres://…", or nil, and the passwords in the
// address. The text follows the name of the setting and does not quote the address.
func Check(address string) (secrets []string, err error) {
	config, err := parse(address)
	if err != nil {
		return nil, err
	}
	parameters := parameters(address)
	return []string{config.ConnConfig.Password, parameters.Get("password"), parameters.Get("sslpassword")}, nil
}

// parse reads an address as pgx does, with the PG… variables, and sets what the address leaves out.
func parse(address string) (*pgxpool.Config, error) {
	// Without ://, pgx expects another form, such as "host=db dbname=bridge".
	if _, rest, _ := strings.Cut(address, "://"); rest == "" {
		return nil, errors.New("must be postgres://USER@HOST/DATABASE")
	}
	config, err := pgxpool.ParseConfig(address)
	if cannot, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, errors.New("names a file, such as a certificate, that cannot be read: " + cannot.Err.Error())
	}
	if err != nil {
		// err is left out, because it quotes the address.
		return nil, errors.New("is malformed: write postgres://USER:PASSWORD@HOST/DATABASE, with %XX for special characters of the password, and check the parameters after the ?")
	}
	query := parameters(address)
	if !query.Has("pool_max_conns") {
		config.MaxConns = conns
	}
	if !query.Has("default_query_exec_mode") {
		// pgx's default keeps prepared statements in the connection, and PgBouncer in
		// transaction mode gives each transaction another connection
		// (pgbouncer.org/features.html).
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	config.MaxConns = max(config.MaxConns, minConns)
	return config, nil
}

// parameters returns the part of an address after the ?. The other parts need not be a URL: there
// may be several hosts with ports.
func parameters(address string) url.Values {
	_, query, _ := strings.Cut(address[strings.LastIndex(address, "@")+1:], "?")
	values, _ := url.ParseQuery(query) // has those that it understands
	return values
}
