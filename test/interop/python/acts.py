"""One act of the official SDK for each line that same-request.test.ts compares; with `changes`, those that change something."""

import sys
import uuid

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import database, postgres
from google.protobuf.duration_pb2 import Duration

production = "projects/demo/branches/production"
w = WorkspaceClient()
w.current_user.me()
w.database.get_database_instance("demo-instance")
w.database.generate_database_credential(request_id=str(uuid.uuid4()), instance_names=["demo-instance"])
w.postgres.get_endpoint(f"{production}/endpoints/primary")
w.postgres.generate_database_credential(endpoint=f"{production}/endpoints/primary")
if sys.argv[1:] == ["changes"]:
    stopped = database.DatabaseInstance(name="stopped-instance", stopped=False)
    w.database.update_database_instance("stopped-instance", stopped, "stopped")
    spec = postgres.BranchSpec(source_branch=production, ttl=Duration(seconds=7200))
    w.postgres.create_branch("projects/demo", postgres.Branch(spec=spec), "by-sdk")

    w.database.create_synced_database_table(
        database.SyncedDatabaseTable(
            name="main.sales.provisioned",
            database_instance_name="demo-instance",
            logical_database_name="databricks_postgres",
            spec=database.SyncedTableSpec(
                source_table_full_name="main.sales.orders",
                primary_key_columns=["id"],
                scheduling_policy=database.SyncedTableSchedulingPolicy.SNAPSHOT,
                create_database_objects_if_missing=True,
                new_pipeline_spec=database.NewPipelineSpec(storage_catalog="main", storage_schema="default"),
            ),
        )
    )
    w.database.get_synced_database_table("main.sales.provisioned")
    w.database.delete_synced_database_table("main.sales.provisioned", purge_data=True)
    w.postgres.create_synced_table(
        postgres.SyncedTable(
            spec=postgres.SyncedTableSyncedTableSpec(
                branch=production,
                postgres_database="databricks_postgres",
                source_table_full_name="main.sales.orders",
                primary_key_columns=["id"],
                scheduling_policy=postgres.SyncedTableSyncedTableSpecSyncedTableSchedulingPolicy.SNAPSHOT,
                create_database_objects_if_missing=True,
                new_pipeline_spec=postgres.NewPipelineSpec(storage_catalog="main", storage_schema="default"),
            )
        ),
        "main.sales.autoscaling",
    ).wait()
    w.postgres.get_synced_table("synced_tables/main.sales.autoscaling")
    w.postgres.delete_synced_table("synced_tables/main.sales.autoscaling").wait()
