// pgx and its pool through the proxy: LAKEBASE_PG_URL is what `lakebase-proxy exec` sets.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, os.Getenv("LAKEBASE_PG_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create table if not exists pgx_items (id int primary key, name text)"); err != nil {
		return err
	}
	defer pool.Exec(ctx, "drop table pgx_items")
	rows := [][]any{{1, "one"}, {2, "two"}, {3, "three"}}
	copied, err := pool.CopyFrom(ctx, pgx.Identifier{"pgx_items"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for id := range rows {
		batch.Queue("select name from pgx_items where id = $1", id+1)
	}
	results := pool.SendBatch(ctx, batch)
	var last string
	for range rows {
		if err := results.QueryRow().Scan(&last); err != nil {
			return err
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	var user string
	if err := pool.QueryRow(ctx, "select current_user").Scan(&user); err != nil {
		return err
	}
	fmt.Println(user, copied, last)
	return nil
}
