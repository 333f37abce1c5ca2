package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Beside makes databases on the PostgreSQL server of another one, for what is tried on
// copies. What it made, and nothing else, it drops.
type Beside struct {
	dsn  string
	made map[string]string // names by connection string
}

// NewBeside returns the maker of databases beside the one that a connection string
// names. Its role needs the right to create databases.
func NewBeside(ctx context.Context, dsn string) (*Beside, error) {
	b := &Beside{dsn, map[string]string{}}
	return b, b.run(ctx, "SELECT 1")
}

func (b *Beside) run(ctx context.Context, statement string) error {
	c, err := pgx.Connect(ctx, b.dsn)
	if err != nil { // the parser's error quotes the password
		return errors.New("the PostgreSQL server does not answer at the address that --database gives")
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, statement); err != nil {
		return pgErr(err)
	}
	return nil
}

// create makes a database. Its name holds no character that would need quoting.
func (b *Beside) create(ctx context.Context, template string) (string, error) {
	name := "cloakroom_drill_" + strings.ToLower(rand.Text())
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + template
	}
	if err := b.run(ctx, statement); err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	dsn := b.dsn + " dbname=" + name // of two the last holds
	if u, err := url.Parse(b.dsn); err == nil && u.Scheme != "" {
		u.Path = "/" + name
		dsn = u.String()
	}
	b.made[dsn] = name
	return dsn, nil
}

// Fresh makes an empty database and returns its connection string.
func (b *Beside) Fresh(ctx context.Context) (string, error) { return b.create(ctx, "") }

// Copy makes a copy of one that Fresh or Copy made and nobody has open.
func (b *Beside) Copy(ctx context.Context, dsn string) (string, error) {
	name, ok := b.made[dsn]
	if !ok {
		return "", errors.New("copying a database that was not made here")
	}
	return b.create(ctx, name)
}

// Drop removes one that Fresh or Copy made.
func (b *Beside) Drop(ctx context.Context, dsn string) error {
	name, ok := b.made[dsn]
	if !ok {
		return errors.New("dropping a database that was not made here")
	}
	if err := b.run(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("dropping a database: %w", err)
	}
	delete(b.made, dsn)
	return nil
}
