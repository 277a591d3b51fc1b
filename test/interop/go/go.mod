module lakebase-proxy/interop

go 1.24

require (
	github.com/databricks/databricks-sdk-go v0.175.0
	github.com/jackc/pgx/v5 v5.12.0
)
