"""Databricks' SDK for Python against the emulated workspace: what a program of a user's may ask for.

Each step prints a line. PROXY_PORT is where lakebase-proxy listens; the front door is in libpq's variables.
"""

import datetime
import os
import uuid

import psycopg
from databricks.sdk import WorkspaceClient
from databricks.sdk.common.types.fieldmask import FieldMask
from databricks.sdk.errors import NotFound
from databricks.sdk.service import database, postgres
from databricks.sdk.version import __version__
from google.protobuf.duration_pb2 import Duration

w = WorkspaceClient()
me = w.current_user.me().user_name


def step(name, value):
    print(f"{name}: {value}", flush=True)


def login(host, user, token):
    with psycopg.connect(host=host, user=user, password=token, dbname="databricks_postgres") as connection:
        return connection.execute("select current_user").fetchone()[0]


def ask_proxy(sql):
    host = {"host": "localhost", "hostaddr": "127.0.0.1", "port": os.environ["PROXY_PORT"]}
    tls = {"sslmode": "prefer", "sslrootcert": ""}
    with psycopg.connect(dbname="databricks_postgres", user="any", **host, **tls) as connection:
        return connection.execute(sql).fetchone()[0]


step("version", __version__)
step("me", me)

# Lakebase Provisioned
names = [each.name for each in w.database.list_database_instances()]
step("instances", ",".join(names))
instance = w.database.get_database_instance(name="demo-instance")
assert instance.state == database.DatabaseInstanceState.AVAILABLE
assert w.database.find_database_instance_by_uid(uid=instance.uid).name == "demo-instance"
credential = w.database.generate_database_credential(
    request_id=str(uuid.uuid4()), instance_names=["demo-instance"]
)
assert credential.expiration_time
step("login, provisioned", login(instance.read_write_dns, me, credential.token))
step("instance roles", [each.name for each in w.database.list_database_instance_roles("demo-instance")])
role = w.database.get_database_instance_role("demo-instance", me)
step("instance role", role.identity_type.value)

stopped = database.DatabaseInstance(name="stopped-instance", stopped=False)
started = w.database.update_database_instance("stopped-instance", stopped, "stopped")
step("starting", started.state.value)
awake = w.database.wait_get_database_instance_database_available("stopped-instance")
step("started", awake.state.value)

table = w.database.create_synced_database_table(
    database.SyncedDatabaseTable(
        name="main.sales.orders_synced",
        database_instance_name="demo-instance",
        logical_database_name="databricks_postgres",
        spec=database.SyncedTableSpec(
            source_table_full_name="main.sales.orders",
            primary_key_columns=["id"],
            scheduling_policy=database.SyncedTableSchedulingPolicy.SNAPSHOT,
            new_pipeline_spec=database.NewPipelineSpec(storage_catalog="main", storage_schema="default"),
        ),
    )
)
step("synced table, provisioned", table.unity_catalog_provisioning_state.value)
table = w.database.get_synced_database_table("main.sales.orders_synced")
assert table.spec.source_table_full_name == "main.sales.orders"
w.database.delete_synced_database_table("main.sales.orders_synced")

# Lakebase Autoscaling
step("projects", ",".join(each.name for each in w.postgres.list_projects()))
project = w.postgres.get_project("projects/demo")
step("branches", ",".join(each.name for each in w.postgres.list_branches("projects/many")))
branch = w.postgres.get_branch("projects/demo/branches/production")
assert branch.status.default and branch.status.current_state == postgres.BranchStatusState.READY
endpoint = next(iter(w.postgres.list_endpoints(branch.name)))
endpoint = w.postgres.get_endpoint(endpoint.name)
assert endpoint.status.endpoint_type == postgres.EndpointType.ENDPOINT_TYPE_READ_WRITE
credential = w.postgres.generate_database_credential(endpoint=endpoint.name)
assert credential.expire_time
step("login, autoscaling", login(endpoint.status.hosts.host, me, credential.token))
short = w.postgres.generate_database_credential(
    endpoint=endpoint.name, ttl=Duration(seconds=300)
)
life = short.expire_time.ToDatetime(datetime.UTC) - datetime.datetime.now(datetime.UTC)
step("short token, minutes", round(life.total_seconds() / 60))
step("roles", sorted(each.status.postgres_role for each in w.postgres.list_roles(branch.name)))
step("databases", [each.status.postgres_database for each in w.postgres.list_databases(branch.name)])

made = w.postgres.create_branch(
    parent="projects/demo",
    branch=postgres.Branch(
        spec=postgres.BranchSpec(source_branch=branch.name, ttl=Duration(seconds=7200))
    ),
    branch_id="made-by-sdk",
).wait()
step("branch made", f"{made.name} {made.status.current_state.value}")
young = next(iter(w.postgres.list_endpoints(made.name)))
token = w.postgres.generate_database_credential(endpoint=young.name).token
step("login, branch made", login(young.status.hosts.host, me, token))
w.postgres.update_endpoint(
    young.name,
    postgres.Endpoint(spec=postgres.EndpointSpec(
        endpoint_type=postgres.EndpointType.ENDPOINT_TYPE_READ_WRITE, disabled=True)),
    FieldMask(["spec.disabled"]),
).wait()
step("endpoint disabled", w.postgres.get_endpoint(young.name).status.disabled)
w.postgres.delete_branch(made.name, purge=True).wait()
try:
    w.postgres.get_branch(made.name)
    raise AssertionError("the deleted branch is still there")
except NotFound as error:
    step("branch deleted", error.error_code)

synced = w.postgres.create_synced_table(
    postgres.SyncedTable(
        spec=postgres.SyncedTableSyncedTableSpec(
            branch=branch.name,
            postgres_database="databricks_postgres",
            source_table_full_name="main.sales.orders",
            primary_key_columns=["id"],
            scheduling_policy=postgres.SyncedTableSyncedTableSpecSyncedTableSchedulingPolicy.SNAPSHOT,
            new_pipeline_spec=postgres.NewPipelineSpec(storage_catalog="main", storage_schema="default"),
        )
    ),
    "main.sales.orders_autoscaling",
).wait()
step("synced table, autoscaling", synced.name)
w.postgres.get_synced_table(synced.name)
w.postgres.delete_synced_table(synced.name).wait()

step("through the proxy", ask_proxy("select current_user"))
