// Databricks' SDK for Go against the emulated workspace: what a program of a user's may ask for.
//
// Each step prints a line. PROXY_PORT is where lakebase-proxy listens; the front door is in libpq's
// variables.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/common/types/duration"
	"github.com/databricks/databricks-sdk-go/service/database"
	"github.com/databricks/databricks-sdk-go/service/iam"
	"github.com/databricks/databricks-sdk-go/service/postgres"
	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

func must[Value any](value Value, err error) Value {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func step(name string, value any) { fmt.Printf("%s: %v\n", name, value) }

// login asks the front door who is there.
func login(host, user, token string) string {
	config := must(pgx.ParseConfig(fmt.Sprintf(
		"host=%s port=%s user='%s' dbname=databricks_postgres sslmode=verify-full sslrootcert=%s",
		host, os.Getenv("PGPORT"), user, os.Getenv("PGSSLROOTCERT"))))
	config.Password = token
	config.LookupFunc = func(context.Context, string) ([]string, error) {
		return []string{os.Getenv("PGHOSTADDR")}, nil
	}
	return whoIsThere(config)
}

func whoIsThere(config *pgx.ConnConfig) string {
	connection := must(pgx.ConnectConfig(ctx, config))
	defer connection.Close(ctx)
	var name string
	must(0, connection.QueryRow(ctx, "select current_user").Scan(&name))
	return name
}

func main() {
	w := must(databricks.NewWorkspaceClient())
	step("version", "0.175.0")
	me := must(w.CurrentUser.Me(ctx, iam.MeRequest{})).UserName
	step("me", me)
	provisioned(w, me)
	autoscaling(w, me)
	address := net.JoinHostPort("127.0.0.1", os.Getenv("PROXY_PORT"))
	os.Unsetenv("PGHOSTADDR")
	step("through the proxy", whoIsThere(must(pgx.ParseConfig(
		"postgres://any@"+address+"/databricks_postgres?sslmode=prefer&sslrootcert="))))
}

func provisioned(w *databricks.WorkspaceClient, me string) {
	step("instances", len(must(w.Database.ListDatabaseInstancesAll(ctx, database.ListDatabaseInstancesRequest{}))))
	instance := must(w.Database.GetDatabaseInstanceByName(ctx, "demo-instance"))
	must(w.Database.FindDatabaseInstanceByUid(ctx, database.FindDatabaseInstanceByUidRequest{Uid: instance.Uid}))
	credential := must(w.Database.GenerateDatabaseCredential(ctx, database.GenerateDatabaseCredentialRequest{
		RequestId:     "11111111-2222-3333-4444-555555555555",
		InstanceNames: []string{"demo-instance"},
	}))
	step("login, provisioned", login(instance.ReadWriteDns, me, credential.Token))
	must(w.Database.GetDatabaseInstanceRoleByInstanceNameAndName(ctx, "demo-instance", me))
	must(w.Database.UpdateDatabaseInstance(ctx, database.UpdateDatabaseInstanceRequest{
		Name:             "stopped-instance",
		DatabaseInstance: database.DatabaseInstance{Name: "stopped-instance", ForceSendFields: []string{"Stopped"}},
		UpdateMask:       "stopped",
	}))
	awake := must(w.Database.WaitGetDatabaseInstanceDatabaseAvailable(ctx, "stopped-instance", time.Minute, nil))
	step("started", awake.State)
	must(w.Database.CreateSyncedDatabaseTable(ctx, database.CreateSyncedDatabaseTableRequest{
		SyncedTable: database.SyncedDatabaseTable{
			Name:                 "main.sales.orders_synced",
			DatabaseInstanceName: "demo-instance",
			LogicalDatabaseName:  "databricks_postgres",
			Spec: &database.SyncedTableSpec{
				SourceTableFullName: "main.sales.orders",
				PrimaryKeyColumns:   []string{"id"},
				SchedulingPolicy:    database.SyncedTableSchedulingPolicySnapshot,
				NewPipelineSpec:     &database.NewPipelineSpec{StorageCatalog: "main", StorageSchema: "sales"},
			},
		},
	}))
	table := must(w.Database.GetSyncedDatabaseTableByName(ctx, "main.sales.orders_synced"))
	step("synced table, provisioned", table.UnityCatalogProvisioningState)
	must(0, w.Database.DeleteSyncedDatabaseTableByName(ctx, "main.sales.orders_synced"))
}

func autoscaling(w *databricks.WorkspaceClient, me string) {
	step("projects", len(must(w.Postgres.ListProjectsAll(ctx, postgres.ListProjectsRequest{}))))
	branch := must(w.Postgres.GetBranch(ctx, postgres.GetBranchRequest{Name: "projects/demo/branches/production"}))
	step("login, autoscaling", loginTo(w, branch.Name, me))
	making := must(w.Postgres.CreateBranch(ctx, postgres.CreateBranchRequest{
		Parent:   "projects/demo",
		BranchId: "made-by-sdk",
		Branch: postgres.Branch{Spec: &postgres.BranchSpec{
			SourceBranch: branch.Name,
			Ttl:          duration.New(2 * time.Hour),
		}},
	}))
	made := must(making.Wait(ctx))
	step("branch made", made.Name+" "+string(made.Status.CurrentState))
	step("login, branch made", loginTo(w, made.Name, me))
	deleting := must(w.Postgres.DeleteBranch(ctx, postgres.DeleteBranchRequest{Name: made.Name, Purge: true}))
	must(0, deleting.Wait(ctx))
	syncing := must(w.Postgres.CreateSyncedTable(ctx, postgres.CreateSyncedTableRequest{
		SyncedTableId: "main.sales.orders_autoscaling",
		SyncedTable: postgres.SyncedTable{Spec: &postgres.SyncedTableSyncedTableSpec{
			Branch:              branch.Name,
			PostgresDatabase:    "databricks_postgres",
			SourceTableFullName: "main.sales.orders",
			PrimaryKeyColumns:   []string{"id"},
			SchedulingPolicy:    postgres.SyncedTableSyncedTableSpecSyncedTableSchedulingPolicySnapshot,
			NewPipelineSpec:     &postgres.NewPipelineSpec{StorageCatalog: "main", StorageSchema: "sales"},
		}},
	}))
	step("synced table, autoscaling", must(syncing.Wait(ctx)).Name)
	removing := must(w.Postgres.DeleteSyncedTable(ctx, postgres.DeleteSyncedTableRequest{
		Name: "synced_tables/main.sales.orders_autoscaling",
	}))
	must(0, removing.Wait(ctx))
}

func loginTo(w *databricks.WorkspaceClient, branch, me string) string {
	endpoint := must(w.Postgres.ListEndpointsAll(ctx, postgres.ListEndpointsRequest{Parent: branch}))[0]
	credential := must(w.Postgres.GenerateDatabaseCredential(ctx, postgres.GenerateDatabaseCredentialRequest{
		Endpoint: endpoint.Name,
	}))
	return login(endpoint.Status.Hosts.Host, me, credential.Token)
}
