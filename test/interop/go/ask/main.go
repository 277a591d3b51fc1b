// pgx with a connection string: who it is; with "cancel" after it, a query that is cancelled by the
// protocol's own request, and one that ends with its context.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, os.Args[1])
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var user string
	if err := conn.QueryRow(ctx, "select current_user").Scan(&user); err != nil {
		return err
	}
	fmt.Println(user)
	if len(os.Args) < 3 {
		return nil
	}
	time.AfterFunc(time.Second, func() { conn.PgConn().CancelRequest(ctx) })
	_, err = conn.Exec(ctx, "select pg_sleep(60)")
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return fmt.Errorf("not cancelled: %w", err)
	}
	fmt.Println(refused.Code)
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = conn.Exec(limited, "select pg_sleep(61)")
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	<-conn.PgConn().CleanupDone()
	return nil
}
